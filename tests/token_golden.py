"""Goldens of the heads on single tokens: maps as tokens, weights under our names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchbank.evaluation.measures import Score
from patchbank.methods.tools.token_heads import Activation, TokenHead, from_published

CLUSTER_NAMES = {"direct": "cluster1.0", "hidden": "cluster2.0", "out": "cluster2.2"}
"""Layers of STEGO's and SmooSeg's head."""


def tensor(value: Any) -> Tensor:
    """An array as a tensor."""
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


def as_tokens(maps: Any) -> Tensor:
    """Maps (..., C, h, w) as tokens (..., h * w, C)."""
    return tensor(maps).flatten(-2).transpose(-1, -2).contiguous()


def head_of(
    golden: Mapping[str, Any],
    activation: Activation = "relu",
    prefix: str = "w.",
    names: Mapping[str, str] = CLUSTER_NAMES,
) -> TokenHead:
    """The head with a golden's weights."""
    found = {key.removeprefix(prefix): tensor(value) for key, value in golden.items() if key.startswith(prefix)}
    weights = from_published(found, names)
    width, dim = weights["direct.weight"].shape
    head = TokenHead(dim, width, activation, 0)
    head.load_state_dict(weights)
    return head


def gradients(head: TokenHead, golden: Mapping[str, Any], prefix: str, names: Mapping[str, str] = CLUSTER_NAMES) -> Any:
    """Pairs of our gradients and a golden's."""
    for ours, theirs in names.items():
        layer = getattr(head, ours)
        for kind in ("weight", "bias"):
            expected = golden[f"{prefix}{theirs}.{kind}"]
            yield getattr(layer, kind).grad.reshape(expected.shape).numpy(), expected


def in_float32(score: Score) -> tuple[float, float]:
    """mIoU and accuracy in percent as the published code rounds them: shares and their mean in float32."""
    assert score.per_class is not None
    assert score.accuracy is not None
    shares = torch.from_numpy(score.per_class[np.isfinite(score.per_class)]).float()
    return 100 * shares.mean().item(), 100 * float(np.float32(score.accuracy))
