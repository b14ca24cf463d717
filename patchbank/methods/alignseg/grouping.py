"""From queries to the segments of an image: cosines, and what a head may do at test time beyond the published system.

``refine`` steps of spherical k-means inside the image (Dhillon & Modha 2001) that start at the head's queries: each
query moves to the mean direction of the tokens that it won. They raise what the assignment maximises, the cosine of a
token with its query. With a metric (`metric`) the same steps follow among the tokens that it maps.
``merge_above`` then joins the two most alike segments as long as the cosine of their mean directions is above it, so
that an image gets fewer segments than there are queries.

Without any of them (``refine=0``, no metric, ``merge_above=1``) scores are the published cosines.

Shapes: C crops, N patches, D width, Q queries, d width of the metric's space. Everything is a fixed sequence of tensor
operations: the number of steps follows from settings, not from values, so that a head can be exported.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from patchbank.methods.alignseg.model import normalise

LOWEST = -1.0
"""Score of a segment that was merged into another one: no cosine is lower."""


def group(
    tokens: Tensor,
    inverse_norms: Tensor,
    queries: Tensor,
    refine: int = 0,
    metric: Tensor | None = None,
    merge_above: float = 1.0,
) -> Tensor:
    """Scores of every patch with every segment; the segment of a patch is the one with the highest score.

    Args:
        tokens: (C, N, D) float32, centred.
        inverse_norms: (C, N), 1 / length of each token.
        queries: (C, Q, D), the decoder's output.
        refine: k-means steps, in each of the two spaces.
        metric: (D, d) float32, or None.
        merge_above: cosine above which two segments are one; 1 merges none.

    Returns:
        (C, Q, N) float32 in [-1, 1].
    """
    if refine == 0 and metric is None and merge_above >= 1:
        return torch.bmm(normalise(queries), tokens.transpose(1, 2)) * inverse_norms[:, None]
    unit = tokens * inverse_norms[..., None]
    directions = settle(unit, normalise(queries), refine)
    if metric is not None:
        won = _winners(directions, unit)
        used = won.sum(-1, keepdim=True) > 0
        unit = normalise(unit @ metric)
        directions = torch.where(used, normalise(won @ unit), normalise(directions @ metric))
        directions = settle(unit, directions, refine)
    scores = directions @ unit.transpose(1, 2)
    return scores if merge_above >= 1 else _merge(scores, unit, merge_above)


def settle(unit: Tensor, directions: Tensor, steps: int) -> Tensor:
    """Spherical k-means steps.

    Args:
        unit: (C, N, D) tokens of length 1.
        directions: (C, Q, D) of length 1, where to start.
        steps: how many.

    Returns:
        (C, Q, D) of length 1; a query that wins no token stays where it is.
    """
    for _ in range(steps):
        won = _winners(directions, unit)
        used = won.sum(-1, keepdim=True) > 0
        directions = torch.where(used, normalise(won @ unit), directions)
    return directions


def _winners(directions: Tensor, unit: Tensor) -> Tensor:
    """(C, Q, N) float32, 1 where the query is the best one of the patch, first on ties."""
    best = (directions @ unit.transpose(1, 2)).argmax(1)
    return functional.one_hot(best, directions.shape[1]).transpose(1, 2).to(unit.dtype)


def _merge(scores: Tensor, unit: Tensor, above: float) -> Tensor:
    """Join segments, the most alike first; a joined segment's score is the higher one of its two."""
    count = scores.shape[1]
    won = functional.one_hot(scores.argmax(1), count).transpose(1, 2).to(unit.dtype)
    sums, used = won @ unit, won.sum(-1) > 0
    ordered = torch.ones(count, count, dtype=torch.bool, device=scores.device).triu(1)
    for _ in range(count - 1):
        directions = normalise(sums)
        pairs = used[:, :, None] & used[:, None] & ordered
        alike = (directions @ directions.transpose(1, 2)).masked_fill(~pairs, -2.0)
        cosine, index = alike.flatten(1).max(1)
        joined = (cosine > above)[:, None]
        kept = functional.one_hot(index // count, count).bool() & joined
        gone = functional.one_hot(index % count, count).bool() & joined
        both = (kept | gone)[..., None]
        higher = scores.masked_fill(~both, LOWEST).amax(1, keepdim=True)
        scores = torch.where(kept[..., None], higher, scores).masked_fill(gone[..., None], LOWEST)
        total = (sums * both).sum(1, keepdim=True)
        sums, used = torch.where(kept[..., None], total, sums), used & ~gone
    return scores
