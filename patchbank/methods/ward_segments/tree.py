"""Ward's hierarchical clustering: one tree, cut at any number of classes.

Source: `scipy.cluster.hierarchy.linkage` with ``ward``,
https://docs.scipy.org/doc/scipy/reference/generated/scipy.cluster.hierarchy.linkage.html.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import pdist

from patchbank.clustering.kmeans import cap


def joined(points: NDArray[np.float32], numbers: Sequence[int]) -> dict[int, NDArray[np.int64]]:
    """Class (n,) of each point, 0 to K - 1 in the order of their first points, by number of classes asked for.

    Args:
        points: (n, E).
        numbers: of classes; K is at most a quarter of the points, as of every clustering (`cap`).
    """
    if len(points) == 1:
        return {k: np.zeros(1, np.int64) for k in numbers}
    tree = linkage(pdist(points.astype(np.float64)), "ward")
    cuts = cut_tree(tree, [cap(k, len(points)) for k in numbers])
    return {k: cuts[:, column].astype(np.int64) for column, k in enumerate(numbers)}


def means(points: NDArray[np.float32], classes: NDArray[np.int64]) -> tuple[NDArray[np.float32], float]:
    """Mean (K, E) of the points of each class, and the mean squared distance of a point to that of its class."""
    count = int(classes.max()) + 1
    sums = np.zeros((count, points.shape[1]), np.float64)
    np.add.at(sums, classes, points)
    centres = sums / np.bincount(classes, minlength=count)[:, None]
    return centres.astype(np.float32), float(((points - centres[classes]) ** 2).sum(1).mean())
