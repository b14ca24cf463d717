"""Silhouette: how much nearer a point is to its own cluster than to the next one.

Source: Rousseeuw, Silhouettes (1987), https://doi.org/10.1016/0377-0427(87)90125-7.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
"""Points whose distances to all others are in memory at a time."""


def silhouette(points: NDArray[np.float32], labels: NDArray[np.integer[Any]]) -> float | None:
    """Mean silhouette of points, by Euclidean distance.

    With a the mean distance of a point to the others of its cluster and b the least mean distance to the points of
    another one, its silhouette is (b - a) / max(a, b), and 0 where it is alone in its cluster or a = b = 0.

    Args:
        points: (n, d); time and n grow with n squared, memory with `BLOCK` n.
        labels: (n,) cluster of each.

    Returns:
        The mean, -1 to 1; None where all points are in one cluster.
    """
    kinds, labels = np.unique(labels, return_inverse=True)
    if len(kinds) < 2:
        return None
    member = np.eye(len(kinds))[labels]
    sizes = member.sum(0)
    exact = points.astype(np.float64)
    squares = (exact**2).sum(1)
    total = 0.0
    for start in range(0, len(points), BLOCK):
        rows = slice(start, start + BLOCK)
        squared = squares[rows, None] + squares - 2 * exact[rows] @ exact.T
        own = labels[rows]
        at = np.arange(len(own))
        squared[at, start + at] = 0.0  # a point's distance to itself, which rounding would leave a trace of
        sums = np.sqrt(np.maximum(squared, 0.0)) @ member
        inside = sums[at, own] / np.maximum(sizes[own] - 1, 1)
        means = sums / sizes
        means[at, own] = np.inf
        nearest = means.min(1)
        larger = np.maximum(inside, nearest)
        alone = (sizes[own] == 1) | (larger == 0)
        total += float(np.where(alone, 0.0, (nearest - inside) / np.where(larger == 0, 1.0, larger)).sum())
    return total / len(points)
