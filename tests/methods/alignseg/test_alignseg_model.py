from __future__ import annotations

import pytest
import torch
from alignseg_models import golden_model, golden_views, random_model
from alignseg_oracles import assignment_logits
from golden_files import assert_golden, load_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbank.errors import UserError
from patchbank.methods.alignseg.model import QueryDecoder, normalise
from patchbank.methods.alignseg.pooling import assignment_pool, attention_pool, prepare_tokens
from patchbank.methods.alignseg.settings import AlignSegSettings


@pytest.mark.parametrize("plain", [True, False])
def test_golden_decoder_queries(plain: bool) -> None:
    golden = load_golden("alignseg_decoder")
    model, views = golden_model(golden), golden_views(golden)
    for view in range(views.shape[1]):
        queries = model(views[:, view], plain).detach()
        assert_golden(queries, golden[f"queries_{view}"])
        with pytest.raises(AssertionError, match="largest difference"):
            assert_golden(queries * 1.001, golden[f"queries_{view}"])
    logits = assignment_logits(views[:, 0], model(views[:, 0], plain))
    assert_golden(logits.detach(), golden["assignment_logits_global"])


def test_golden_decoder_is_not_the_stacked_one() -> None:
    golden = load_golden("alignseg_decoder")
    model, views = golden_model(golden), golden_views(golden)
    model.stacked = True
    with pytest.raises(AssertionError, match="largest difference"):
        assert_golden(model(views[:, 0]).detach(), golden["queries_0"])


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 3), st.sampled_from(["stacked", "reference"]), st.integers(2, 6), st.sampled_from([1, 2, 3]),
    st.integers(1, 5), st.integers(1, 9), st.integers(0, 99),
)  # fmt: skip
def test_without_keys_and_values_all_is_the_same(
    layers: int, decoder: str, queries: int, heads: int, crops: int, patches: int, seed: int
) -> None:
    model = random_model(layers, decoder, seed, queries, heads).double()
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(crops, patches, 12, generator=generator, dtype=torch.float64)
    direction = torch.randn(crops, queries, 12, generator=generator, dtype=torch.float64)
    results = []
    for plain in (True, False):
        model.zero_grad()
        output = model(tokens, plain)
        (output * direction).sum().backward()
        results.append([output.detach(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(results[0]) == len(results[1])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_reference_decoder_trains_its_last_layer_only() -> None:
    model = random_model(3, "reference")
    model(torch.randn(2, 5, 12)).square().sum().backward()
    trained = {name for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {n for n, _ in model.named_parameters() if n == "queries" or n.startswith("layers.2.")}


def test_pools_have_right_gradients() -> None:
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    tokens, mask = random(3, 6, 4), (random(3, 6) > 0).double()
    inverse = tokens.norm(dim=-1).reciprocal()
    for crops in (1, 3):
        probes = random(crops, 5, 4).requires_grad_()
        assert torch.autograd.gradcheck(lambda p: attention_pool(tokens, p), (probes,))
    queries = normalise(random(3, 2, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: assignment_pool(tokens, inverse, mask, q)[:2], (queries,))


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    model, stored = random_model(2, "stacked"), torch.randn(5, 9, 12)
    results = []
    for size in (1 << 21, 2 * 9 * 12):
        monkeypatch.setattr("patchbank.methods.alignseg.pooling.CACHED_VALUES", size)
        tokens = torch.empty_like(stored)
        inverse = prepare_tokens(stored, tokens)
        queries = model(tokens)
        results.append([inverse, queries, *assignment_pool(tokens, inverse, torch.ones(5, 9), queries)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_tokens_are_centred_and_measured() -> None:
    stored = torch.randn(3, 5, 8).half()
    shift, scale, out = torch.randn(8), torch.rand(8) + 0.5, torch.empty(3, 5, 8)
    inverse = prepare_tokens(stored, out, shift, scale)
    expected = (stored.float() - shift) * scale
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(inverse, expected.norm(dim=-1).reciprocal())
    means = assignment_pool(out, inverse, torch.zeros(3, 5), torch.ones(3, 2, 8))[2]
    torch.testing.assert_close(means, normalise(expected).mean(1))


def test_a_token_of_zeros_stays_finite() -> None:
    out = torch.empty(1, 2, 4)
    inverse = prepare_tokens(torch.zeros(1, 2, 4), out)
    assert torch.isfinite(inverse).all()
    for part in assignment_pool(out, inverse, torch.ones(1, 2), torch.ones(1, 3, 4)):
        assert torch.isfinite(part).all()


def test_initial_values() -> None:
    settings = AlignSegSettings(queries=64, heads=3, layers=2, hidden=96)
    model, same, other = (QueryDecoder(48, settings, seed) for seed in (0, 0, 1))
    for name, value in model.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
        if name.endswith("in_weight"):
            bound = (6 / (3 * 48 + 48)) ** 0.5
            assert 0.98 * bound < float(value.abs().max()) <= bound
        elif name == "queries":
            assert abs(float(value.std()) - 1) < 0.1
        elif value.ndim == 2:
            assert abs(float(value.std()) - 0.02) < 0.002
        elif name.endswith("norm.weight"):
            assert (value == 1).all()
        else:
            assert (value == 0).all()
    assert not torch.equal(model.queries, other.queries)


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(UserError, match="heads is 5"):
        QueryDecoder(12, AlignSegSettings(heads=5))
