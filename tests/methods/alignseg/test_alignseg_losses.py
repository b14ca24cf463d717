from __future__ import annotations

import numpy as np
import pytest
import torch
from alignseg_models import golden_model, golden_views, random_model
from alignseg_oracles import patch_alignment_by_pairs
from golden_files import assert_golden, load_golden
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbank.methods.alignseg.losses import pair_crops, query_alignment
from patchbank.methods.alignseg.optimiser import build_optimiser
from patchbank.methods.alignseg.pooling import prepare_tokens
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.methods.alignseg.step import Crops, batch_losses

PUBLISHED = AlignSegSettings(decoder="reference", pressure=0.11)


def make_crops(views: torch.Tensor, foreground: torch.Tensor) -> Crops:
    """A batch from tokens (B, V, N, D) and masks (B, V, N)."""
    flat = views.flatten(0, 1)
    tokens = torch.empty_like(flat)
    return Crops(tokens, prepare_tokens(flat, tokens), foreground)


def golden_crops(golden: dict[str, np.ndarray]) -> Crops:
    views = golden_views(golden)
    batch, count, patches = views.shape[:3]
    rows = torch.from_numpy(golden["foreground"]).reshape(count, batch, patches)
    return make_crops(views, rows.transpose(0, 1))


def test_golden_decoder_losses_and_gradient() -> None:
    golden = load_golden("alignseg_decoder")
    model = golden_model(golden)
    losses = batch_losses(model, golden_crops(golden), PUBLISHED)
    assert_golden(losses.query.detach(), golden["loss_query_alignment"])
    assert_golden(losses.patch.detach(), golden["loss_patch_alignment"])
    assert_golden(losses.total.detach(), golden["loss_total"])
    losses.total.backward()
    assert_golden(model.queries.grad, golden["grad_queries"])


def test_golden_decoder_formula_over_all_pairs() -> None:
    golden = load_golden("alignseg_decoder")
    model, views = golden_model(golden), golden_views(golden)
    masks = golden_crops(golden).foreground
    queries = [model(views[:, view], plain=True) for view in range(views.shape[1])]
    losses = [
        patch_alignment_by_pairs(
            (views[:, 0], views[:, v]), (queries[0], queries[v]), (masks[:, 0], masks[:, v]), PUBLISHED.pressure
        )
        for v in range(1, views.shape[1])
    ]
    assert_golden(torch.stack(losses).mean().detach(), golden["loss_patch_alignment"])


def five_losses(golden: dict[str, np.ndarray], settings: AlignSegSettings = PUBLISHED) -> list[float]:
    model, crops = golden_model(golden), golden_crops(golden)
    optimiser = build_optimiser(model, settings)
    found = []
    for _ in golden["losses_5_steps"]:
        optimiser.zero_grad()
        loss = batch_losses(model, crops, settings).total
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return found


def test_golden_decoder_five_steps() -> None:
    golden = load_golden("alignseg_decoder")
    assert_golden(five_losses(golden), golden["losses_5_steps"])


def test_golden_decoder_comparison_bites() -> None:
    golden = load_golden("alignseg_decoder")
    found = five_losses(golden)
    with pytest.raises(AssertionError, match="largest difference"):
        assert_golden(found, golden["losses_5_steps"] * (1 + 1e-3))
    with pytest.raises(AssertionError, match="largest difference"):
        assert_golden(five_losses(golden, AlignSegSettings(lr=5.25e-4)), golden["losses_5_steps"])


def test_weight_decay_spares_biases_norms_and_queries() -> None:
    model = random_model(1, "stacked")
    groups = build_optimiser(model, PUBLISHED).param_groups
    names = {id(p): n for n, p in model.named_parameters()}
    decayed, plain = ({names[id(p)] for p in group["params"]} for group in groups)
    assert [group["weight_decay"] for group in groups] == [0.04, 0.0]
    assert all(name.endswith("weight") and "norm" not in name for name in decayed)
    assert "queries" in plain
    assert len(decayed) == 6


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 5), st.integers(1, 3), st.integers(1, 9), st.integers(0, 99),
    st.sampled_from(["same_image", "reference"]), st.floats(-1, 1),
)  # fmt: skip
def test_low_rank_patch_loss_is_the_formula(
    batch: int, local_crops: int, patches: int, seed: int, pairing: str, pressure: float
) -> None:
    """Both pairings against the definition, crop by crop, masks included."""
    generator = torch.Generator().manual_seed(seed)
    views = torch.randn(batch, 1 + local_crops, patches, 12, generator=generator, dtype=torch.float64)
    masks = (torch.rand(batch, 1 + local_crops, patches, generator=generator) < 0.6).double()
    model = random_model(1, "stacked", seed).double()
    found = batch_losses(model, make_crops(views, masks), AlignSegSettings(pairing=pairing, pressure=pressure))
    found.total.backward()
    gradient = model.queries.grad
    model.zero_grad()
    queries = model(views.flatten(0, 1), plain=True).unflatten(0, views.shape[:2])
    locals_first = views[:, 1:].transpose(0, 1).flatten(0, 1), queries[:, 1:].transpose(0, 1).flatten(0, 1)
    patch_losses, query_losses = [], []
    for i in range(local_crops):
        if pairing == "same_image":
            tokens, outputs = views[:, 1 + i], queries[:, 1 + i]
        else:  # crop-major rows read as image-major ones
            tokens, outputs = (part.unflatten(0, (batch, local_crops))[:, i] for part in locals_first)
        patch_losses.append(
            patch_alignment_by_pairs(
                (views[:, 0], tokens), (queries[:, 0], outputs), (masks[:, 0], masks[:, 1 + i]), pressure
            )
        )
        query_losses.append(query_alignment(queries[:, 0], outputs[:, None]))
    patch, query = torch.stack(patch_losses).mean(), torch.stack(query_losses).mean()
    torch.testing.assert_close(found.patch, patch, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found.query, query, rtol=1e-8, atol=1e-10)
    (patch + query).backward()
    torch.testing.assert_close(gradient, model.queries.grad, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("batch", [3, 4, 32])
def test_reference_pairing_is_its_formula(batch: int) -> None:
    image, local = pair_crops("reference", batch, 2)
    for b in range(batch):
        for i in range(2):
            assert int(local[b, i]) == (2 * b + i) // batch
            assert int(image[b, i]) == (2 * b + i) % batch
    assert len(set(zip(image.flatten().tolist(), local.flatten().tolist(), strict=True))) == 2 * batch
    assert (image != torch.arange(batch)[:, None]).any()


def test_same_image_pairing() -> None:
    image, local = pair_crops("same_image", 3, 2)
    assert image.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert local.tolist() == [[0, 1]] * 3


def test_query_alignment_row_by_row() -> None:
    random = np.random.default_rng(0)
    one, other = random.standard_normal((2, 4, 6)), random.standard_normal((2, 3, 4, 6))
    expected = []
    for b in range(2):
        for i in range(3):
            z = np.concatenate([one[b], other[b, i]])
            z /= np.linalg.norm(z, axis=1, keepdims=True)
            for row in range(8):
                positive = (row + 4) % 8
                negatives = [k for k in range(8) if k not in (row, positive)]
                logits = np.array([z[row] @ z[k] for k in (positive, *negatives)])
                expected.append(np.log(np.exp(logits).sum()) - logits[0])
    found = query_alignment(torch.from_numpy(one), torch.from_numpy(other))
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-12)


def test_used_segments_counts_best_queries_of_global_crops() -> None:
    views = torch.randn(3, 3, 7, 12, generator=torch.Generator().manual_seed(3))
    model = random_model(1, "stacked")
    found = batch_losses(model, make_crops(views, torch.ones(3, 3, 7)), AlignSegSettings())
    cosines = torch.nn.functional.normalize(views[:, 0], dim=-1) @ torch.nn.functional.normalize(
        found.queries[:, 0], dim=-1
    ).transpose(1, 2)
    expected = np.mean([len(np.unique(best)) for best in cosines.argmax(-1).numpy()])
    assert float(found.used_segments) == pytest.approx(expected)


def test_background_patches_do_not_count() -> None:
    views = torch.randn(2, 2, 5, 12, generator=torch.Generator().manual_seed(0))
    found = batch_losses(random_model(1, "stacked"), make_crops(views, torch.zeros(2, 2, 5)), AlignSegSettings())
    assert found.patch.item() == 0
