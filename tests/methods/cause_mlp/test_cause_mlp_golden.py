"""CAUSE-MLP against numbers of the published functions and training loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from golden_files import assert_golden, load_golden
from token_golden import head_of, tensor
from torch import Tensor, nn
from torch.nn import functional

from patchbank.methods.tools.cause.contrast import nearest_code
from patchbank.methods.tools.cause.front import (
    Labelled,
    Projected,
    Student,
    follow,
    front_loss,
    front_step,
    probe_step,
    teacher_of,
)
from patchbank.methods.tools.cause.labelled import probe_loss
from patchbank.methods.tools.cause.memory import Memory
from patchbank.methods.tools.cause.modularity import EPS, Prototypes, block_sample, modularity_loss
from patchbank.methods.tools.cluster_probe import ClusterProbe
from patchbank.methods.tools.correspondence import unit

NAMES = {"direct": "f1", "hidden": "f2.0", "out": "f2.2"}
SIDE, RATE, DECAY, CLIP, LIMIT = 4, 4e-3, 1e-4, 0.1, 100
AMPLIFIED = 2e-3
"""Of weights after steps: Adam divides by the gradient's own size."""


def grid_of(tokens: Any) -> tuple[int, int]:
    side = round(tokens.shape[-2] ** 0.5)
    return side, side


def linear(golden: dict[str, Any], name: str) -> nn.Linear:
    weight, bias = (tensor(golden[f"{name}.f.{kind}"]) for kind in ("weight", "bias"))
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight[:, :, 0, 0], "bias": bias})
    return layer


def projected(golden: dict[str, Any], prefix: str, ending: str = "") -> Projected:
    head = head_of(golden, "relu", f"{prefix}head{ending}.", NAMES)
    return Projected(head, linear(golden, f"{prefix}projection_head{ending}"))


def assert_layer(layer: nn.Linear, golden: dict[str, Any], name: str) -> None:
    for kind in ("weight", "bias"):
        expected = golden[f"{name}.{kind}"]
        assert_golden(getattr(layer, kind).detach().reshape(expected.shape), expected, AMPLIFIED)


def assert_head(head: Any, golden: dict[str, Any], prefix: str) -> None:
    for ours, theirs in NAMES.items():
        assert_layer(getattr(head, ours), golden, f"{prefix}{theirs}")


def prototypes(values: Any) -> Prototypes:
    found = Prototypes(*values.shape, 0, "test")
    found.vectors.data.copy_(tensor(values))
    return found


def test_golden_codes_and_modularity() -> None:
    golden = load_golden("cause_functions")
    tokens, own = tensor(golden["tokens"]), prototypes(golden["codebook"])
    index = nearest_code(tokens, own.vectors)
    np.testing.assert_array_equal(index, golden["index"])
    assert_golden(own.vectors[index].detach(), golden["quantised"])
    sampled = block_sample(tokens, grid_of(tokens), tensor(golden["mod_order"]), SIDE)
    assert_golden(sampled, golden["mod_sampled"])
    for part, name in ((sampled, ""), (tokens[:, :36], "_plain36")):
        own.zero_grad()
        loss = modularity_loss(part, own.vectors)
        assert_golden(loss.item(), golden[f"mod_loss{name}"])
        loss.backward()
        assert_golden(own.vectors.grad, golden[f"mod_g{name}"])


def test_golden_centroids() -> None:
    golden = load_golden("cause_functions")
    probe, codes = ClusterProbe(tensor(golden["cluster_probe"])), tensor(golden["seg"])
    loss = probe.loss(codes)
    assert_golden(loss.item(), golden["centroid_loss"])
    loss.backward()
    assert_golden(probe.clusters.grad, golden["centroid_g"])
    cosines = probe(codes).detach()
    best = cosines.argmax(-1).reshape(golden["centroid_pred"].shape)
    for name in ("centroid_pred", "centroid_inference"):
        np.testing.assert_array_equal(best, golden[name])
    maps = cosines.transpose(1, 2).reshape(golden["centroid_crf"].shape)
    assert_golden(functional.log_softmax(3 * maps, 1), golden["centroid_crf"])


def test_golden_head_projection_and_linear_probe() -> None:
    golden = load_golden("cause_functions")
    own, tokens = projected(golden, "w."), tensor(golden["head_tokens"])
    codes = own.head(tokens).detach()
    assert_golden(codes, golden["head_eval"])
    assert_golden(own.projection(codes).detach(), golden["proj_eval"])
    logits = linear(golden, "w.linear")(codes).detach().transpose(1, 2)
    assert_golden(logits.reshape(golden["linear_eval"].shape), golden["linear_eval"])
    masks = (tensor(golden["mask_f1"]), tensor(golden["mask_f2"]))
    assert_golden(own.head(tokens, masks).detach(), golden["head_train"])


def test_golden_mediator() -> None:
    golden = load_golden("cause_mediator")
    own = prototypes(golden["codebook_before"])
    optimiser = torch.optim.Adam(own.parameters(), lr=RATE)
    for tokens, order, expected in zip(golden["tokens"], golden["orders"], golden["losses"], strict=True):
        sampled = block_sample(tensor(tokens), grid_of(tokens), tensor(order), SIDE)
        loss = modularity_loss(sampled, own.vectors)
        assert_golden(loss.item(), expected)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert_golden(own.vectors.detach(), golden["codebook_after"], 2e-4)


def orders_of(golden: dict[str, Any], sizes: str, values: str) -> Iterator[Tensor]:
    return iter(torch.split(tensor(golden[values]).long(), golden[sizes].tolist()))


def front(golden: dict[str, Any], t: int, student: Projected, teacher: Projected, memory: Memory) -> Any:
    tokens = tensor(golden["tokens"][t])
    sampled = block_sample(tokens, grid_of(tokens), tensor(golden["orders"][t]), SIDE)
    kept: list[Tensor] = []
    hook = student.projection.register_forward_hook(lambda *given: kept.append(given[2]) or given[2].retain_grad())
    found = front_loss(student, teacher, sampled, tensor(golden["codebook"]), memory, (None, None))
    hook.remove()
    return (sampled, kept[0], *found)


def run_front(golden: dict[str, Any]) -> tuple[Student, Projected, Memory]:
    """The recorded steps of the second phase."""
    model = Student(projected(golden, "before."), linear(golden, "before.linear"))
    student, teacher = model.projected, teacher_of(model.projected)
    memory = Memory(len(golden["codebook"]), LIMIT, student.projection.out_features)
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE, weight_decay=DECAY)
    recorded = {key.split(".")[0] for key in golden if key.startswith("call")}
    compared = set()
    for t in range(len(golden["losses"])):
        sampled, projections, loss, rows, own = front(golden, t, student, teacher, memory)
        assert_golden(loss.item(), golden["losses"][t])
        if f"call{t}" in recorded:
            compared.add(f"call{t}")
            assert_golden(sampled, golden[f"call{t}.feat"])
            amplified = 1e-5 if t == 0 else 1e-3
            assert_golden(projections.detach(), golden[f"call{t}.proj"], amplified)
            assert_golden(own.reshape(projections.shape), golden[f"call{t}.proj_ema"], amplified)
            (gradient,) = torch.autograd.grad(loss, projections, retain_graph=True)
            assert_golden(gradient, golden[f"call{t}.g_proj"], 1e-3)
        tokens = tensor(golden["tokens"][t])
        assert model.probe is not None
        with torch.no_grad():
            codes = teacher.head(tokens)
        labelled = probe_loss(model.probe(codes), tensor(golden["labels"][t]).long(), grid_of(tokens))
        front_step(model, optimiser, loss, CLIP, labelled)
        follow(teacher, student, t)
        memory.add(rows, own, orders_of(golden, f"perm_sizes.{t}", f"perms.{t}"))
    assert compared == recorded != set(), f"of the recorded calls {recorded} only {compared} were compared"
    return model, teacher, memory


def test_golden_front_mlp() -> None:
    golden = load_golden("cause_front_mlp")
    model, teacher, memory = run_front(golden)
    for own, ending in ((model.projected, ""), (teacher, "_ema")):
        assert_head(own.head, golden, f"after.head{ending}.")
        assert_layer(own.projection, golden, f"after.projection_head{ending}.f")
    assert model.probe is not None
    assert_layer(model.probe, golden, "after.linear.f")
    np.testing.assert_array_equal(memory.sizes, golden["bank_sizes"])
    stored = memory.stored()
    assert stored is not None
    assert_golden(stored[1], golden["bank"], 1e-3)


def test_golden_bank() -> None:
    golden = load_golden("cause_bank")
    codebook = tensor(golden["codebook"])
    memory = Memory(len(codebook), LIMIT, golden["bank"].shape[1])
    for s in range(3):
        rows = nearest_code(tensor(golden[f"feat{s}"]), codebook).flatten()
        memory.add(rows, tensor(golden[f"proj{s}"]).flatten(0, 1), orders_of(golden, f"perm_sizes{s}", f"perms{s}"))
    np.testing.assert_array_equal(memory.sizes, golden["bank_sizes"])
    stored = memory.stored()
    assert stored is not None
    assert_golden(stored[1], golden["bank"])


def fine_tune(golden: dict[str, Any], tag: str) -> tuple[Labelled, Prototypes]:
    """The recorded steps of the third phase, in which labels move the head."""
    moved = Labelled(projected(golden, "before.", "_ema").head, linear(golden, "before.linear"))
    own = prototypes(golden["probe_before"])
    decayed = {"params": list(moved.parameters()), "weight_decay": DECAY}
    optimiser = torch.optim.Adam([{"params": list(own.parameters())}, decayed], lr=RATE)
    for t in range(len(golden["tokens"])):
        tokens = tensor(golden["tokens"][t])
        grid = grid_of(tokens)
        codes = moved.head(tokens)
        labelled = moved.loss(codes, tensor(golden[f"{tag}.labels"][t]).long(), grid)
        sampled = block_sample(codes.detach(), grid, tensor(golden[f"{tag}.orders"][t]), SIDE)
        probe_step(own, sampled, optimiser, (moved, labelled, CLIP))
    return moved, own


@pytest.mark.parametrize("tag", ["a", "b"])
def test_golden_fine_tuning_moves_the_head_by_labels(tag: str) -> None:
    golden = load_golden("cause_fine_tuning")
    assert golden["requires_grad_head_ema"].all()
    moved, own = fine_tune(golden, tag)
    assert_head(moved.head, golden, f"{tag}.after.head_ema.")
    assert_layer(moved.probe, golden, f"{tag}.after.linear.f")
    assert_golden(own.vectors.detach(), golden[f"{tag}.probe_after"], AMPLIFIED)
    before = projected(golden, "before.", "_ema")
    assert_layer(before.projection, golden, f"{tag}.after.projection_head_ema.f")


def test_a_changed_golden_does_not_pass() -> None:
    golden = load_golden("cause_mediator")
    own = prototypes(golden["codebook_before"])
    sampled = block_sample(tensor(golden["tokens"][0]), grid_of(golden["tokens"][0]), tensor(golden["orders"][0]), SIDE)
    with pytest.raises(AssertionError, match="largest difference"):
        assert_golden(modularity_loss(sampled, own.vectors).item(), golden["losses"][0] * (1 + 1e-3))
    assert_golden(unit(own.vectors, EPS).norm(dim=1).detach(), np.ones(len(own.vectors)))
