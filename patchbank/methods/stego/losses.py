"""Correspondence loss: codes of two points are pulled together as far as their tokens are alike, else apart.

For points i of one image and j of another, fd the (spatially centred) cosine of their tokens, cd that of their codes:

    loss = - max(cd, 0) * (fd - shift)

Source: STEGO, `modules.py` (`ContrastiveCorrelationLoss`), https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from patchbank.methods.tools.correspondence import similarity, unit

Clamp = Literal["zero", "stabilised", "none"]
_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "zero": (0.0, None),
    "stabilised": (0.0, 0.8),
    "none": (None, None),
}


@dataclass(frozen=True)
class Rule:
    """How pairs are compared.

    Attributes:
        weights: of the parts intra (same image), inter (a neighbour's view) and negative (another one of the batch).
        centred: whether fd is spatially centred.
        clamp: of cd: from 0, from 0 to 0.8, or not at all (then from -1, which it cannot leave).
    """

    weights: tuple[float, float, float]
    centred: bool = True
    clamp: Clamp = "zero"


@dataclass(frozen=True)
class Parts:
    """Scalars of a step, and cd (before clamping) of each part, for those who look at its distribution.

    Attributes:
        intra, inter, negative: means of the parts, with their shifts and without their weights.
        total: weighted sum.
        similarities: cd of the three parts, detached.
    """

    intra: Tensor
    inter: Tensor
    negative: Tensor
    total: Tensor
    similarities: tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Points:
    """Sampled points of a batch: `tokens` (B, P, D) without a gradient, `codes` (B, P, C)."""

    tokens: Tensor
    codes: Tensor

    def of(self, images: Tensor) -> Points:
        """Those of other images of the batch; `images` (B,) int64."""
        return Points(self.tokens[images], self.codes[images])


def correspondence(
    anchors: Points, neighbours: Points, others: Sequence[Points], shifts: Sequence[Tensor | float], rule: Rule
) -> Parts:
    """The loss of a batch.

    Args:
        anchors: of every image, at its first coordinates.
        neighbours: of every image's positive, at its second coordinates.
        others: for every negative of an image, the same coordinates in another image.
        shifts: of intra, inter and negative pairs.
        rule: weights, centring, clamp.
    """
    intra, cd_intra = _pairs(anchors, anchors, shifts[0], rule)
    inter, cd_inter = _pairs(anchors, neighbours, shifts[1], rule)
    negatives = [_pairs(anchors, other, shifts[2], rule) for other in others]
    negative = torch.stack([loss for loss, _ in negatives]).mean()
    parts = (intra, inter, negative)
    total = torch.stack([weight * part for weight, part in zip(rule.weights, parts, strict=True)]).sum()
    return Parts(*parts, total, (cd_intra, cd_inter, torch.stack([cd for _, cd in negatives])))


def _pairs(one: Points, other: Points, shift: Tensor | float, rule: Rule) -> tuple[Tensor, Tensor]:
    """Mean loss of all pairs, and their cd (B, P, P), detached."""
    fd = similarity(one.tokens, other.tokens, rule.centred)
    cd = unit(one.codes) @ unit(other.codes).transpose(1, 2)
    low, high = _BOUNDS[rule.clamp]
    clamped = cd if low is None else cd.clamp(low, high)
    return -(clamped * (fd - shift)).mean(), cd.detach()


def bilinear_weights(coords: Tensor, grid: tuple[int, int]) -> Tensor:
    """What every patch brings to points between patches.

    Args:
        coords: (B, P, 2) float32, x and y; -1 and 1 are the centres of the first and the last patch; points outside
            take the border.
        grid: (h, w) of the patches.

    Returns:
        (B, P, h * w), rows that sum to 1: ``weights @ tokens`` samples tokens (B, h * w, D).
    """
    columns = _weights_along(coords[..., 0], grid[1])
    rows = _weights_along(coords[..., 1], grid[0])
    return (rows[..., :, None] * columns[..., None, :]).flatten(2)


def _weights_along(coords: Tensor, size: int) -> Tensor:
    """Linear interpolation along one side: (B, P) -> (B, P, size)."""
    position = ((coords + 1) / 2 * (size - 1)).clamp(0, size - 1)
    return (1 - (position[..., None] - torch.arange(size, device=coords.device)).abs()).clamp(min=0)
