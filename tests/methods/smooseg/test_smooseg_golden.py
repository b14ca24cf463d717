"""SmooSeg against numbers of the published modules and of published training steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_files import assert_golden, load_golden
from pixel_counts import make_counts
from token_golden import as_tokens, gradients, head_of, in_float32, tensor
from torch.nn import functional

from patchbank.bank.centring import Centring
from patchbank.evaluation.protocols import hungarian
from patchbank.methods.smooseg.losses import class_vectors, data_loss, smoothness
from patchbank.methods.smooseg.prototypes import Prototypes
from patchbank.methods.smooseg.settings import SmooSegSettings
from patchbank.methods.smooseg.step import Drawn, SmooSeg, build_optimiser, losses, update
from patchbank.methods.tools.class_heads import Classes, ClassHead
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.token_heads import TokenHead

SHIFTS = (-0.02, 0.5)
GOLDEN = "smooseg_loss"


def prototypes(golden: dict[str, Any], local: str, teacher: str) -> Prototypes:
    found = Prototypes(*golden[local].shape, 0)
    found.local.data.copy_(tensor(golden[local]))
    found.teacher.copy_(tensor(golden[teacher]))
    return found


def test_golden_head() -> None:
    golden = load_golden(GOLDEN)
    head, tokens = head_of(golden, "silu"), as_tokens(golden["x"])
    assert_golden(tokens, as_tokens(golden["feats_eval"]))
    assert_golden(head(tokens).detach(), as_tokens(golden["code_eval"]))
    one, two, signal = tensor(golden["masks_cluster1_cluster2_feats"])[:, :, None]
    assert_golden(head(tokens, (one, two)).detach(), as_tokens(golden["code_train"]))
    assert_golden(tokens * signal, as_tokens(golden["feats_train"]))


def parts_of(golden: dict[str, Any], codes: torch.Tensor, own: Prototypes, centred: bool) -> Any:
    """Losses of a variant, and the dissimilarities of classes."""
    local, teacher = own(codes)
    signal, classes, perm = unit(as_tokens(golden["x"])), class_vectors(teacher), tensor(golden["perm"])
    intra = smoothness(signal, signal, classes, classes, SHIFTS[0], centred)
    inter = smoothness(signal, signal[perm], classes, classes[perm], SHIFTS[1], centred)
    return local, teacher, intra, inter, data_loss(local, teacher)


@pytest.mark.parametrize("name", ["default", "raw"])
def test_golden_losses_and_their_gradients(name: str) -> None:
    golden = load_golden(GOLDEN)
    head, own = head_of(golden, "silu"), prototypes(golden, "local", "glob")
    codes = head(as_tokens(golden["x"]))
    codes.retain_grad()
    local, teacher, intra, inter, data = parts_of(golden, codes, own, name == "default")
    assert_golden(local.detach(), as_tokens(golden["products_local"]))
    assert_golden(teacher.detach(), as_tokens(golden["products_global"]))
    for key, value in {"intra": intra[0], "inter": inter[0], "smooth": intra[0] + inter[0], "data": data}.items():
        assert_golden(value.item(), golden[f"{name}.{key}"])
    for key, (_, apart) in {"cd_intra": intra, "cd_inter": inter}.items():
        assert_golden(apart.item(), golden[f"{name}.{key}"])
    (intra[0] + inter[0] + data).backward()
    assert_golden(codes.grad, as_tokens(golden[f"{name}.g.code"]))
    assert_golden(own.local.grad, golden[f"{name}.g.local_clusters"])
    for ours, theirs in gradients(head, golden, f"{name}.g.projection."):
        assert_golden(ours, theirs)


def trained(golden: dict[str, Any]) -> SmooSeg:
    """The model after the recorded steps, each of which is compared."""
    settings = SmooSegSettings(dropout=0, decay=0.9, shift_intra=SHIFTS[0], shift_inter=SHIFTS[1], width=1)
    head = head_of(golden, "silu", "before.")
    model = SmooSeg(head.dim, 1, settings, 0)
    model.head, model.prototypes = head, prototypes(golden, "local_before", "global_before")
    optimiser = build_optimiser(model, settings)
    for step in range(len(golden["losses"])):
        found = losses(model, as_tokens(golden["x"][step]), Drawn(tensor(golden["perms"][step])), settings)
        update(model, optimiser, found.total, settings.decay)
        assert_golden(found.total.item(), golden["losses"][step])
        assert_golden(model.prototypes.local.detach(), golden["local"][step])
        assert_golden(model.prototypes.teacher, golden["glob"][step])
    return model


def test_golden_steps() -> None:
    golden = load_golden("smooseg_steps")
    head: TokenHead = trained(golden).head
    expected = head_of(golden, "silu", "after.").state_dict()
    for name, value in head.state_dict().items():
        assert_golden(value, expected[name])


def test_golden_evaluation() -> None:
    golden = load_golden("smooseg_steps")
    head, teacher = head_of(golden, "silu", "after."), tensor(golden["glob"][-1])
    grid, size = golden["eval_x"].shape[2:], golden["eval_label"].shape[1:]
    model = ClassHead(head, Classes({"k": unit(teacher)}, {"k": len(teacher)}), Centring(), {}, head.dim)
    plain, mirrored = (model(as_tokens(golden[key])).unflatten(2, grid) for key in ("eval_x", "eval_x_mirror"))
    scores = (plain + mirrored.flip(3)) / 2
    large = functional.interpolate(scores, size, mode="bilinear", align_corners=False)
    predicted = large.argmax(1).numpy()
    assert (predicted != golden["eval_pred"]).mean() <= 1e-3
    plain, mirrored = (head(as_tokens(golden[key])).unflatten(1, grid) for key in ("eval_x", "eval_x_mirror"))
    codes = ((plain + mirrored.flip(2)) / 2).permute(0, 3, 1, 2).detach()
    cosines = unit(functional.interpolate(codes, size, mode="bilinear").permute(0, 2, 3, 1)) @ unit(teacher).T
    assert_golden(functional.log_softmax(2 * cosines, -1)[:, 0].transpose(1, 2), golden["eval_log_probs_row0"])
    k = len(teacher)
    labels = np.where(golden["eval_label"] >= 0, golden["eval_label"], 255)
    counted = make_counts(list(zip(golden["eval_pred"], labels, strict=True)), k, k)
    miou, accuracy = in_float32(hungarian.evaluate(counted)[""])
    assert_golden(miou, golden["miou"], 1e-9)
    assert_golden(accuracy, golden["accuracy"], 1e-9)


def test_a_changed_golden_does_not_pass() -> None:
    golden = load_golden("smooseg_steps")
    golden["losses"] = golden["losses"] * (1 + 1e-3)
    with pytest.raises(AssertionError, match="largest difference"):
        trained(golden)
