"""faiss k-means (Johnson et al. 2017, https://arxiv.org/abs/1702.08734), on GPUs where faiss finds any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import UserError

BLOCK = 65536
"""Points assigned at a time; bounds the memory of the distances."""


@dataclass(frozen=True)
class KMeansSettings:
    """Settings of one k-means fit.

    Attributes:
        niter: iterations.
        nredo: restarts, the one with the smallest objective wins.
        spherical: keep centroids on the unit sphere and assign by inner product (cosine for normalised points).
    """

    niter: int = 50
    nredo: int = 3
    spherical: bool = False


def cap(k: int, points: int) -> int:
    """K, but at most a quarter of the training points (and at least 1)."""
    return max(1, min(k, points // 4))


@dataclass(frozen=True)
class Fit:
    """One k-means fit.

    Attributes:
        centroids: (k, d) float32.
        objective: sum of squared distances (or of inner products, spherical) at each iteration of the best restart.
    """

    centroids: NDArray[np.float32]
    objective: tuple[float, ...]


def fit_kmeans(points: NDArray[np.float32], k: int, seed: int, settings: KMeansSettings, gpu: bool = True) -> Fit:
    """k-means of points (n, d) float32; all points are used, none is sub-sampled.

    Args:
        points: (n, d) float32, finite.
        k: number of clusters.
        seed: of the first centroids.
        settings: see `KMeansSettings`.
        gpu: whether to compute on all GPUs that faiss finds; not for jobs that claim none.

    Raises:
        UserError: when there are fewer points than clusters or a point is not finite.
    """
    import faiss

    count, dim = points.shape
    if count < k:
        raise UserError(f"k-means with {k} clusters needs at least {k} points, got {count}; lower K or add images.")
    if not np.isfinite(points).all():
        raise UserError("k-means got features that are not finite; verify the bank with `patchbank verify`.")
    engine = faiss.Kmeans(
        dim,
        k,
        niter=settings.niter,
        nredo=settings.nredo,
        spherical=settings.spherical,
        seed=seed & 0x7FFFFFFF,
        min_points_per_centroid=1,
        max_points_per_centroid=max(count, 1),
        gpu=gpu and faiss.get_num_gpus() > 0,
    )
    engine.train(np.ascontiguousarray(points, dtype=np.float32))
    centroids = np.asarray(engine.centroids, dtype=np.float32).reshape(k, dim)
    return Fit(centroids, tuple(np.asarray(engine.obj, dtype=np.float64).tolist()))


def scores(points: NDArray[np.float32], centroids: NDArray[np.float32], spherical: bool) -> NDArray[np.float32]:
    """(n, k) float32, higher is nearer: inner products, or minus half the squared distance up to |x|^2 / 2."""
    products: NDArray[np.float32] = points @ centroids.T
    if spherical:
        return products
    products -= 0.5 * np.einsum("kd,kd->k", centroids, centroids)
    return products


def assign(points: NDArray[np.floating[Any]], centroids: NDArray[np.float32], spherical: bool) -> NDArray[np.int64]:
    """Nearest centroid (n,) of each point, first on ties, in blocks."""
    result = np.empty(len(points), dtype=np.int64)
    for start in range(0, len(points), BLOCK):
        block = points[start : start + BLOCK].astype(np.float32)
        result[start : start + BLOCK] = scores(block, centroids, spherical).argmax(1)
    return result
