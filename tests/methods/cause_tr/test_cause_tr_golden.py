"""CAUSE-TR against numbers of the published head and training loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import assert_golden, load_golden
from token_golden import tensor
from torch import Tensor, nn

from patchbank.methods.cause_tr.head import DecoderHead
from patchbank.methods.cause_tr.names import ATTENTION, ours_of, theirs_of
from patchbank.methods.tools.cause.front import Projected, Student, follow, front_loss, front_step, teacher_of
from patchbank.methods.tools.cause.labelled import probe_loss
from patchbank.methods.tools.cause.memory import Memory
from patchbank.methods.tools.cause.modularity import block_sample

SIDE, RATE, DECAY, CLIP, LIMIT = 4, 4e-3, 1e-4, 2.0, 100
AMPLIFIED = 2e-3
"""Of weights after steps: Adam divides by the gradient's own size."""


def decoder(golden: Mapping[str, Any], prefix: str) -> DecoderHead:
    weights = ours_of(lambda name: tensor(golden[prefix + name]))
    codebook = tensor(golden["codebook"])
    patches, hidden, width = len(weights["positions"]), len(weights["widen.bias"]), len(weights["codes.out.bias"])
    head = DecoderHead(codebook, patches, width, hidden, 0)
    head.load_state_dict(weights | {"codebook": codebook})
    return head


def linear(golden: Mapping[str, Any], name: str) -> nn.Linear:
    weight, bias = (tensor(golden[f"{name}.f.{kind}"]) for kind in ("weight", "bias"))
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight[:, :, 0, 0], "bias": bias})
    return layer


def named(golden: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}


def without_key_bias(name: str, values: Any) -> Any:
    """Rows D:2D of the biases of attention are left out: their gradient is 0, and Adam moves them by noise."""
    if name not in {f"{theirs}.in_proj_bias" for theirs in ATTENTION.values()}:
        return values
    dim = len(values) // 3
    return np.delete(np.asarray(values), slice(dim, 2 * dim))


def test_golden_head() -> None:
    golden = load_golden("cause_tr_head")
    head = decoder(golden, "w.")
    codes = head(tensor(golden["tokens"]))
    assert_golden(codes.detach(), golden["code"])
    (codes * tensor(golden["upstream"])).sum().backward()
    found = theirs_of({name: own.grad for name, own in head.named_parameters() if own.grad is not None})
    expected = named(golden, "g.")
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert_golden(without_key_bias(name, found[name]), without_key_bias(name, gradient), 2e-4)


def orders_of(golden: Mapping[str, Any], t: int) -> Iterator[Tensor]:
    return iter(torch.split(tensor(golden[f"perms.{t}"]).long(), golden[f"perm_sizes.{t}"].tolist()))


def run_front(golden: Mapping[str, Any]) -> tuple[Student, Projected, Memory]:
    """The recorded steps of the second phase: heads on all tokens, then a sample of what they say."""
    model = Student(Projected(decoder(golden, "before.head."), linear(golden, "before.projection_head")), None)
    model.probe = linear(golden, "before.linear")
    student, teacher = model.projected, teacher_of(model.projected)
    memory = Memory(len(golden["codebook"]), LIMIT, student.projection.out_features)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
    recorded, compared = {key.split(".")[0] for key in golden if key.startswith("call")}, set()
    for t in range(len(golden["losses"])):
        tokens = tensor(golden["tokens"][t])
        side, order = round(tokens.shape[1] ** 0.5), tensor(golden["orders"][t])

        def sample(values: Tensor, side: int = side, order: Tensor = order) -> Tensor:
            return block_sample(values, (side, side), order, SIDE)

        kept: list[Tensor] = []
        hook = student.projection.register_forward_hook(lambda *given, kept=kept: kept.append(given[2]))
        found = front_loss(student, teacher, tokens, tensor(golden["codebook"]), memory, (None, None), sample)
        hook.remove()
        loss, rows, taught = found
        assert_golden(loss.item(), golden["losses"][t])
        if f"call{t}" in recorded:
            compared.add(f"call{t}")
            amplified = 1e-5 if t == 0 else 1e-3
            assert_golden(sample(tokens), golden[f"call{t}.feat"])
            assert_golden(kept[0].detach(), golden[f"call{t}.proj"], amplified)
            assert_golden(taught.reshape(kept[0].shape), golden[f"call{t}.proj_ema"], amplified)
            (gradient,) = torch.autograd.grad(loss, kept[0], retain_graph=True)
            assert_golden(gradient, golden[f"call{t}.g_proj"], 1e-3)
        with torch.no_grad():
            codes = teacher.head(tokens)
        labelled = probe_loss(model.probe(codes), tensor(golden["labels"][t]).long(), (side, side))
        front_step(model, optimiser, loss, CLIP, labelled)
        follow(teacher, student, t)
        memory.add(rows, taught, orders_of(golden, t))
    assert compared == recorded != set(), f"of the recorded calls {recorded} only {compared} were compared"
    return model, teacher, memory


def test_golden_front_tr() -> None:
    golden = load_golden("cause_front_tr")
    model, teacher, memory = run_front(golden)
    compared = {}
    for own, prefix in ((model.projected.head, "after.head."), (teacher.head, "after.head_ema.")):
        found = theirs_of(dict(own.state_dict()))
        compared[prefix] = named(golden, prefix)
        for name, expected in compared[prefix].items():
            assert_golden(without_key_bias(name, found[name]), without_key_bias(name, expected), AMPLIFIED)
    assert all(compared.values())
    assert compared["after.head."].keys() == theirs_of(dict(teacher.head.state_dict())).keys()
    for layer, name in ((model.projected.projection, "projection_head"), (model.probe, "linear")):
        for kind in ("weight", "bias"):
            expected = golden[f"after.{name}.f.{kind}"]
            assert_golden(getattr(layer, kind).detach().reshape(expected.shape), expected, AMPLIFIED)
    np.testing.assert_array_equal(memory.sizes, golden["bank_sizes"])
    stored = memory.stored()
    assert stored is not None
    assert_golden(stored[1], golden["bank"], 1e-3)


def test_a_changed_golden_does_not_pass() -> None:
    golden = load_golden("cause_tr_head")
    codes = decoder(golden, "w.")(tensor(golden["tokens"])).detach()
    with pytest.raises(AssertionError, match="largest difference"):
        assert_golden(codes, golden["code"] * (1 + 1e-3))
