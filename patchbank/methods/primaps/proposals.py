"""Mask proposals: what of an image is alike to the token that its first principal direction points to most, repeatedly.

A proposal is a soft mask; its tokens are taken out, the next direction is that of what is left, until 95 % are taken.
The masks are smoothed by a 3x3 median, and compete with a background, which is where they are weak.

| | published (``reference``) | ours |
|---|---|---|
| sign of a direction | whatever the library returns | the largest share among free tokens is positive |
| seed | the best of all tokens, 0 for those that are taken | the best of the free ones |
| end | also when the free ones stay the same three times | as soon as a proposal covers nothing new |
| one proposal only | its sum over masks becomes a sum over rows | a sum over masks |

Source: PriMaPs-EM, https://github.com/visinf/primaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor
from torch.nn import functional

from patchbank.methods.tools.correspondence import unit

EPS = 1e-12
"""Lengths below it count as it."""
COVERED = 0.95
"""Share of taken tokens at which an image is done, published."""
GAIN = 10.0
"""What smoothed masks are multiplied with before they are cut at 1, published."""
NONE = -1
"""No proposal, and so no class; published as 255, which would be a class of its own where there are more than that."""


@dataclass(frozen=True)
class Rule:
    """How proposals are made.

    Attributes:
        threshold: share of its largest similarity below which a token is not part of a mask.
        most: most proposals of an image; None for no limit.
        reference: the published choices in the table above.
    """

    threshold: float = 0.4
    most: int | None = None
    reference: bool = False


def soft_masks(tokens: Tensor, rule: Rule, directions: Sequence[Tensor] | None = None) -> tuple[Tensor, list[int]]:
    """Masks of one image, in their order.

    Args:
        tokens: (N, D).
        rule: how.
        directions: (D,) each, to be used with their signs in place of those that are computed.

    Returns:
        (n, N), 0 to 1, and the number of free tokens before each.
    """
    directed, free = unit(tokens, EPS), torch.ones(len(tokens), dtype=torch.bool)
    masks: list[Tensor] = []
    states: list[Tensor] = []
    counts: list[int] = []
    while (~free).float().mean() < COVERED and (rule.most is None or len(masks) < rule.most):
        given = None if directions is None else directions[len(masks)]
        seed = _seed(tokens, directed, free, given, rule)
        alike = torch.where(free, directed @ directed[seed], 0.0)
        largest = alike.max()
        if largest <= 0:  # tokens without a direction
            break
        mask = torch.where(alike < rule.threshold * largest, 0.0, alike) / largest
        taken = free & (mask > 0)
        if not rule.reference and not taken.any():
            break
        masks.append(mask)
        counts.append(int(free.sum()))
        free = free & ~taken
        states = [*states[-2:], free]
        if rule.reference and len(masks) > 3 and all(torch.equal(states[0], state) for state in states[1:]):
            break
    return torch.stack(masks) if masks else tokens.new_zeros(0, len(tokens)), counts


def _seed(tokens: Tensor, directed: Tensor, free: Tensor, direction: Tensor | None, rule: Rule) -> int:
    """The token that the principal direction of the free ones points to most."""
    given = direction is not None
    direction = principal_direction(tokens[free]) if direction is None else direction
    shares = directed @ direction
    if not given:
        among = shares[free]
        shares = shares * among[among.abs().argmax()].sign()
    outside = 0.0 if rule.reference else -torch.inf
    return int(torch.where(free, shares, outside).argmax())


def principal_direction(tokens: Tensor) -> Tensor:
    """First principal direction (D,) of tokens (n, D) about their mean, of length 1, its sign open."""
    centred = (tokens - tokens.mean(0)).double()
    n, dim = centred.shape
    small = centred @ centred.T if n < dim else centred.T @ centred
    last = len(small) - 1
    _, vectors = eigh(small.numpy(), subset_by_index=(last, last))
    vector = torch.from_numpy(np.ascontiguousarray(vectors[:, 0]))
    return unit(centred.T @ vector if n < dim else vector, EPS).float()


def log_probabilities(masks: Tensor, grid: tuple[int, int], reference: bool = False) -> Tensor:
    """What every token is: background, or one of the proposals.

    Args:
        masks: (n, N) from `soft_masks`.
        grid: (h, w).
        reference: the published sum where there is one proposal only.

    Returns:
        (1 + n, h, w) log probabilities, background first.
    """
    smooth = (_median(masks.view(len(masks), *grid)) * GAIN).clamp(0, 1)
    positive = smooth[smooth > 0]
    mean = positive.mean() if len(positive) else smooth.new_zeros(())
    single = reference and len(smooth) == 1
    covered = smooth[0].sum(0, keepdim=True).expand(grid) if single else smooth.sum(0)
    background = (mean - covered).clamp(0, 1)
    return functional.log_softmax(torch.cat([background[None], smooth]), 0)


def proposals_of(tokens: Tensor, grid: tuple[int, int], rule: Rule) -> Tensor:
    """Proposals (h, w) of centred tokens (N, D) on the patch grid as segments: 0 for the background, then in order."""
    return log_probabilities(soft_masks(tokens, rule)[0], grid, rule.reference).argmax(0)


def _median(maps: Tensor) -> Tensor:
    """Median over 3x3 patches of maps (n, h, w), mirrored at the border (repeated where a side has one patch)."""
    mode = "reflect" if min(maps.shape[1:]) > 1 else "replicate"
    padded = functional.pad(maps[:, None], (1, 1, 1, 1), mode=mode)
    around = padded.unfold(2, 3, 1).unfold(3, 3, 1).flatten(4)
    return around.median(-1).values[:, 0]


def proposal_labels(log_probs: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """Proposals (h, w), or (H, W) where they are upsampled to `size`: 1 to n, `NONE` for the background."""
    labels = (log_probs if size is None else probabilities(log_probs, size)).argmax(0)
    return torch.where(labels == 0, NONE, labels)


def probabilities(log_probs: Tensor, size: tuple[int, int]) -> Tensor:
    """What every pixel is, (1 + n, H, W), sum 1, from the log probabilities (1 + n, h, w) of patches."""
    large = functional.interpolate(log_probs[None], size, mode="bilinear", align_corners=False)
    return large[0].softmax(0)


def most_frequent(labels: Tensor, classes: Tensor, count: int) -> Tensor:
    """Inside each proposal the most frequent class, the lowest on ties.

    Args:
        labels: (...) proposals, `NONE` for none.
        classes: (...) class of every point.
        count: number of classes.

    Returns:
        (...) a class, `NONE` where there is no proposal.
    """
    inside = labels != NONE
    rows = int(labels[inside].max()) + 1 if inside.any() else 1
    votes = torch.bincount(labels[inside] * count + classes[inside], minlength=rows * count).view(rows, count)
    winners = votes.argmax(1)  # the first of equal ones on a CPU
    found = torch.full_like(labels, NONE)
    found[inside] = winners[labels[inside]]
    return found
