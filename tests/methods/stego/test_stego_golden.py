"""STEGO against numbers of the published modules."""

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
from patchbank.methods.stego.losses import Points, Rule, bilinear_weights, correspondence
from patchbank.methods.stego.neighbours import nearest
from patchbank.methods.tools.cause.labelled import probe_loss
from patchbank.methods.tools.class_heads import Classes, ClassHead
from patchbank.methods.tools.cluster_probe import ClusterProbe
from patchbank.methods.tools.correspondence import unit

VARIANTS = {"default": (True, "zero"), "raw": (False, "zero"), "stabilised": (True, "stabilised")}
VARIANTS["unclamped"] = (True, "none")


def test_golden_head() -> None:
    golden = load_golden("stego_head")
    head, tokens = head_of(golden), tensor(golden["tokens"][:, 1:])
    assert_golden(tokens.numpy(), as_tokens(golden["feats_eval"]).numpy())
    assert_golden(head(tokens).detach().numpy(), as_tokens(golden["code_eval"]).numpy())
    one, two, signal = (tensor(golden[f"mask_{name}"])[:, None] for name in ("cluster1", "cluster2", "feats"))
    codes = head(tokens, (one, two))
    assert_golden(codes.detach().numpy(), as_tokens(golden["code_train"]).numpy())
    assert_golden((tokens * signal).numpy(), as_tokens(golden["feats_train"]).numpy())
    (codes * as_tokens(golden["upstream"])).sum().backward()
    for ours, theirs in gradients(head, golden, "g."):
        assert_golden(ours, theirs)


def loss_of(golden: dict[str, Any], name: str, codes: torch.Tensor, positive: torch.Tensor) -> Any:
    """Our loss of a variant, from code maps as tokens."""
    grid = golden["code"].shape[2:]
    first, second = (bilinear_weights(tensor(golden[key]).flatten(1, 2), grid) for key in ("coords1", "coords2"))
    feats, feats_pos = tensor(golden["tokens"][:, 1:]), tensor(golden["tokens_pos"][:, 1:])
    anchors, others = Points(first @ feats, first @ codes), Points(second @ feats_pos, second @ positive)
    negatives = [Points(second @ feats[p], second @ codes[p]) for p in tensor(golden["perms"])]
    weights = tuple(golden["weights_intra_inter_neg"].tolist())
    centred, clamp = VARIANTS[name]
    rule = Rule(weights, centred, clamp)  # type: ignore[arg-type]
    return correspondence(anchors, others, negatives, golden["shifts_intra_inter_neg"].tolist(), rule)


@pytest.mark.parametrize("name", VARIANTS)
def test_golden_loss(name: str) -> None:
    golden = load_golden("stego_loss")
    codes, positive = (as_tokens(golden[key]).requires_grad_() for key in ("code", "code_pos"))
    parts = loss_of(golden, name, codes, positive)
    for ours, theirs in {"pos_intra": parts.intra, "pos_inter": parts.inter, "neg_inter": parts.negative}.items():
        assert_golden(theirs.item(), golden[f"{name}.{ours}"])
    assert_golden(parts.total.item(), golden[f"{name}.total"])
    for ours, theirs in zip(("pos_intra", "pos_inter", "neg_inter"), parts.similarities, strict=True):
        assert_golden(theirs.mean().item(), golden[f"{name}.cd_{ours}"])
    parts.total.backward()
    assert_golden(codes.grad, as_tokens(golden[f"{name}.g.code"]).numpy())
    assert_golden(positive.grad, as_tokens(golden[f"{name}.g.code_pos"]).numpy())


@pytest.mark.parametrize("name", VARIANTS)
def test_golden_gradients_of_the_head(name: str) -> None:
    golden = load_golden("stego_loss")
    head = head_of(golden)
    codes, positive = (head(tensor(golden[key][:, 1:])) for key in ("tokens", "tokens_pos"))
    assert_golden(codes.detach().numpy(), as_tokens(golden["code"]).numpy())
    loss_of(golden, name, codes, positive).total.backward()
    for ours, theirs in gradients(head, golden, f"{name}.g."):
        assert_golden(ours, theirs)


def test_golden_sampled_points() -> None:
    golden = load_golden("stego_loss")
    coords = tensor(golden["coords1"]).transpose(1, 2).flatten(1, 2)  # entry [b, :, i, j] reads coords1[b, j, i]
    weights = bilinear_weights(coords, golden["feats"].shape[2:])
    sampled = weights @ tensor(golden["tokens"][:, 1:])
    assert_golden(sampled.numpy(), as_tokens(golden["feats_sampled"]).numpy())


def test_golden_probe_and_evaluation() -> None:
    golden = load_golden("stego_probe")
    codes, start = as_tokens(golden["code"]), tensor(golden["clusters"])
    probe = ClusterProbe(start)
    cosines = probe(codes)
    maps = cosines.detach().transpose(1, 2).reshape(golden["log_probs"].shape)
    assert_golden(functional.log_softmax(2 * maps, 1), golden["log_probs"])
    assert_golden(functional.softmax(2 * maps, 1), golden["soft_probs"])
    assert_golden(-(functional.softmax(2 * maps, 1) * maps).sum(1).mean(), golden["soft_loss"])
    np.testing.assert_array_equal(maps.argmax(1), golden["cluster_probs"].argmax(1))
    loss = probe.loss(codes)
    assert_golden(loss.item(), golden["cluster_loss"])
    loss.backward()
    assert_golden(probe.clusters.grad, golden["g_clusters"])
    optimiser = torch.optim.Adam(probe.parameters(), lr=5e-3)
    for _ in range(3):
        optimiser.zero_grad()
        probe.loss(codes).backward()
        optimiser.step()
    assert_golden(probe.clusters.detach(), golden["clusters_after3"])
    np.testing.assert_array_equal(predicted(golden), golden["prediction"])


def test_golden_linear_probe() -> None:
    """The probe that labels teach beside the head, which ours has not; its loss is that of CAUSE's."""
    golden = load_golden("stego_probe")
    codes, labels = as_tokens(golden["code"]), tensor(golden["label"]).long()
    weight, bias = tensor(golden["lin_w"])[:, :, 0, 0].requires_grad_(), tensor(golden["lin_b"]).requires_grad_()
    optimiser = torch.optim.Adam([weight, bias], lr=5e-3)
    for step in range(3):
        loss = probe_loss(functional.linear(codes, weight, bias), labels, golden["code"].shape[2:])
        optimiser.zero_grad()
        loss.backward()
        if step == 0:
            assert_golden(loss.item(), golden["linear_loss"])
            assert weight.grad is not None
            assert_golden(weight.grad, golden["g_lin_w"].reshape(weight.shape))
            assert_golden(bias.grad, golden["g_lin_b"])
        optimiser.step()
    assert_golden(weight.detach(), golden["lin_w_after3"].reshape(weight.shape))
    assert_golden(bias.detach(), golden["lin_b_after3"])


def predicted(golden: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Classes of pixels as stage `predict` and the bilinear rule of `count` make them."""
    vectors = {"k": unit(tensor(golden["clusters_after3"]))}
    dim = vectors["k"].shape[1]
    model = ClassHead(torch.nn.Identity(), Classes(vectors, {"k": len(vectors["k"])}), Centring(), {}, dim)
    plain, mirrored = (model(as_tokens(golden[key])).unflatten(2, golden["code"].shape[2:]) for key in KEYS)
    scores = (plain + mirrored.flip(3)) / 2
    large = functional.interpolate(scores, golden["label"].shape[1:], mode="bilinear", align_corners=False)
    return large.argmax(1).numpy()


KEYS = ("code", "code_flipped")


def test_golden_matching() -> None:
    golden = load_golden("stego_probe")
    known = golden["label"] >= 0
    k = len(golden["clusters"])
    counts = np.bincount(golden["prediction"][known] * k + golden["label"][known], minlength=k * k).reshape(k, k)
    np.testing.assert_array_equal(counts, golden["stats"])
    images = list(zip(golden["prediction"], np.where(known, golden["label"], 255), strict=True))
    score = hungarian.evaluate(make_counts(images, k, k))[""]
    np.testing.assert_array_equal(score.assignment, golden["assignment"])
    miou, accuracy = in_float32(score)
    assert_golden(miou, golden["miou"], 1e-9)
    assert_golden(accuracy, golden["accuracy"], 1e-9)


def test_golden_neighbours() -> None:
    golden = load_golden("stego_knn")
    means = functional.normalize(tensor(golden["tokens"][:, 1:]).mean(1), dim=1).numpy()
    assert_golden(means, golden["normed"])
    ranks = golden["neighbours"].shape[1]
    np.testing.assert_array_equal(nearest(means, ranks), golden["neighbours"])


def test_a_changed_golden_does_not_pass() -> None:
    golden = load_golden("stego_loss")
    codes, positive = as_tokens(golden["code"]), as_tokens(golden["code_pos"])
    total = loss_of(golden, "default", codes, positive).total.item()
    with pytest.raises(AssertionError, match="largest difference"):
        assert_golden(total, golden["default.total"] * (1 + 1e-3))
