"""PriMaPs against numbers of the published functions and of published training steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_files import assert_golden, load_golden
from token_golden import as_tokens, tensor
from torch import Tensor
from torch.nn import functional

from patchbank.methods.primaps.proposals import (
    NONE,
    Rule,
    log_probabilities,
    most_frequent,
    principal_direction,
    proposal_labels,
    soft_masks,
)
from patchbank.methods.primaps.prototypes import Prototypes, Teacher, principal_directions
from patchbank.methods.primaps.step import focal_loss, pseudo_labels, upsampled
from patchbank.methods.tools.cluster_probe import ClusterProbe

THRESHOLD, GAMMA, EVERY, LIMIT, LR = 0.4, 2.0, 2, 0.7, 5e-3
REFERENCE = Rule(THRESHOLD, reference=True)
PUBLISHED_NONE = 255
"""What the goldens call no proposal and no class."""


def images(golden: dict[str, Any]) -> list[str]:
    return sorted({key.split(".")[0] for key in golden})


def known(labels: Any) -> Tensor:
    """Labels of a golden with our name for none."""
    given = tensor(labels).long()
    return torch.where(given == PUBLISHED_NONE, NONE, given)


def differing(one: Any, two: Any) -> float:
    return float((np.asarray(one) != np.asarray(two)).mean())


def test_golden_proposals() -> None:
    golden = load_golden("primaps_proposals")
    for i in images(golden):
        feat, given = golden[f"{i}.feat"], list(tensor(golden[f"{i}.directions"]))
        tokens, grid = as_tokens(feat), feat.shape[1:]
        masks, counts = soft_masks(tokens, REFERENCE, given)
        assert counts == golden[f"{i}.points"].tolist()
        log_probs = log_probabilities(masks, grid, reference=True)
        assert_golden(log_probs, golden[f"{i}.log_softmax"])
        expected = known(golden[f"{i}.label"])
        labels = proposal_labels(log_probs, expected.shape)
        assert differing(labels, expected) <= 2e-3
        prior, named = tensor(golden[f"{i}.prior"]).long(), known(golden[f"{i}.with_prior"])
        assert differing(most_frequent(labels, prior, int(prior.max()) + 1), named) <= 2e-3


def test_golden_directions_up_to_their_sign() -> None:
    golden = load_golden("primaps_proposals")
    for i in images(golden):
        tokens, given = as_tokens(golden[f"{i}.feat"]), tensor(golden[f"{i}.directions"])
        masks, _ = soft_masks(tokens, REFERENCE, list(given))
        free = torch.ones(len(tokens), dtype=torch.bool)
        for direction, mask in zip(given, masks, strict=True):
            found = principal_direction(tokens[free])
            assert_golden(found * (found @ direction).sign(), direction, 2e-3)
            free &= mask <= 0


def test_golden_start() -> None:
    golden = load_golden("primaps_baseline")
    expected = tensor(golden["init_v"])[:, :, 0, 0]
    found = principal_directions(torch.split(tensor(golden["pca_points"]), 7), len(expected))
    assert_golden(found * (found * expected).sum(1, keepdim=True).sign(), expected, 5e-3)


def linear_probe_loss(x: Tensor, weight: Tensor, bias: Tensor, label: Tensor) -> Tensor:
    """The probe that learns beside the baseline, which ours has not: the mean is over all pixels."""
    logits = functional.conv2d(x, weight, bias)
    large = functional.interpolate(logits, label.shape[1:], mode="bilinear", align_corners=False)
    return functional.cross_entropy(large, label, ignore_index=PUBLISHED_NONE, reduction="none").mean()


def test_golden_baseline() -> None:
    golden = load_golden("primaps_baseline")
    probe = ClusterProbe(tensor(golden["init_v"])[:, :, 0, 0])
    weight, bias = (tensor(golden[key]).requires_grad_() for key in ("linear_w", "linear_b"))
    optimisers = [torch.optim.Adam(own, lr=LR) for own in (probe.parameters(), [weight, bias])]
    for t in range(len(golden["loss"])):
        x = tensor(golden["x"][t])
        cluster = probe.loss(as_tokens(x))
        linear = linear_probe_loss(x, weight, bias, tensor(golden["label"][t])[:, 0].long())
        assert_golden((cluster + linear).item(), golden["loss"][t])
        for optimiser in optimisers:
            optimiser.zero_grad()
        (cluster + linear).backward()
        for optimiser in optimisers:
            optimiser.step()
        assert_golden(probe.clusters.detach(), golden["v"][t][:, :, 0, 0])
    assert_golden(weight.detach(), golden["linear_w_after"])
    assert_golden(bias.detach(), golden["linear_b_after"])
    last = as_tokens(golden["x"][-1])
    assert_golden(probe(last).detach(), as_tokens(golden["scores"]))
    probe.zero_grad()
    loss = probe.loss(last)
    assert_golden(loss.item(), golden["cluster_loss"])
    loss.backward()
    assert_golden(probe.clusters.grad, golden["g_v"][:, :, 0, 0])


def trained(golden: dict[str, Any]) -> tuple[Prototypes, Teacher]:
    """Student and teacher after the recorded steps, each of which is compared."""
    student = Prototypes(tensor(golden["start_v"])[:, :, 0, 0])
    teacher = Teacher(student, LIMIT, EVERY)
    optimiser = torch.optim.Adam(student.parameters(), lr=LR)
    grid = golden["clean"].shape[3:]
    for t in range(len(golden["focal"])):
        masks = known(golden["masks"][t])[:, 0]
        labels = pseudo_labels(teacher.prototypes, as_tokens(golden["clean"][t]), masks, grid)
        np.testing.assert_array_equal(labels, known(golden["pseudo"][t]))
        logits = upsampled(student(as_tokens(golden["student"][t])), grid, masks.shape[1:])
        loss = focal_loss(logits, labels, GAMMA)
        assert_golden(loss.item(), golden["focal"][t])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        teacher.after_step(student, t)
        for own, (v, g) in {student: ("v", "g"), teacher.prototypes: ("ema_v", "ema_g")}.items():
            assert_golden(own.direction.detach(), golden[v][t][:, :, 0, 0])
            assert_golden(own.gain.detach(), golden[g][t][:, :, 0, 0])
    return student, teacher


def test_golden_em_and_evaluation() -> None:
    golden = load_golden("primaps_em")
    student, teacher = trained(golden)
    grid, size = golden["clean"].shape[3:], golden["masks"].shape[3:]
    logits = upsampled(student(as_tokens(golden["student"][-1])), grid, size)
    assert_golden(logits.detach(), golden["last_logits_on_grid_upsampled"])
    student.zero_grad()
    loss = focal_loss(logits, known(golden["pseudo"][-1]), GAMMA)
    assert_golden(loss.item(), golden["g_loss"])
    loss.backward()
    assert student.direction.grad is not None
    assert student.gain.grad is not None
    assert_golden(student.direction.grad, golden["g_v"][:, :, 0, 0])
    assert_golden(student.gain.grad, golden["g_g"][:, :, 0, 0])
    tokens = as_tokens((golden["eval_x"] + golden["eval_x_mirror"][..., ::-1]) / 2)
    for name, own in {"eval_theta_m": teacher.prototypes, "eval_theta_r": student}.items():
        assert differing(upsampled(own(tokens), grid, size).argmax(1), golden[name]) <= 1e-3


def test_a_changed_golden_does_not_pass() -> None:
    golden = load_golden("primaps_em")
    golden["focal"] = golden["focal"] * (1 + 1e-3)
    with pytest.raises(AssertionError, match="largest difference"):
        trained(golden)
