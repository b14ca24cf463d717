"""Stability: whether k-means finds the same clusters again, from another start or from other images.

Two fits are compared on held tokens, those of images that neither has seen: each token gets the nearest centroid of the
one and of the other, and the adjusted Rand index says how far the two divisions agree. With other starts (`over_seeds`)
both fits see the same tokens; with other images (`over_halves`) each sees one half of what is not held. The first is
the choice of the k-means seed, the second that of the data, which is what clusters of new pictures suffer from.

The adjusted Rand index and not adjusted mutual information: it weighs a cluster by its tokens, as pixels count in a
score, and small clusters that come and go do not decide it (Romano et al., Adjusting for chance clustering comparison
measures, 2016, https://jmlr.org/papers/v17/15-627.html: for clusters of similar size, which k-means makes).

Source of the halves: Lange, Roth, Braun & Buhmann, Stability-based validation of clustering solutions (2004),
https://doi.org/10.1162/089976604773717621; overview: von Luxburg, Clustering stability (2010),
https://arxiv.org/abs/1007.1075.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.clustering.agreement import agreement
from patchbank.clustering.kmeans import KMeansSettings, assign, cap, fit_kmeans
from patchbank.seeds import derive, generator

HELD = 0.2
"""Share of the images that no fit sees."""
FEWEST = 3
"""Images below which there is no stability: one is held, and two halves need one each."""

Parts = tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]


def parts(images: NDArray[np.integer[Any]], repeat: int) -> Parts:
    """Tokens (n,) of the one half of the images, of the other, and of the held ones; whole images go one way.

    Args:
        images: (n,) image of each token.
        repeat: number of the draw; each is another one.

    Raises:
        ValueError: there are fewer images than `FEWEST`.
    """
    kinds, where = np.unique(images, return_inverse=True)
    if len(kinds) < FEWEST:
        raise ValueError(f"{len(kinds)} images cannot be cut into two halves and a held part.")
    drawn = generator("criteria-images", repeat).permutation(len(kinds))
    held = max(1, round(HELD * len(kinds)))
    half = held + (len(kinds) - held) // 2
    of_image = np.empty(len(kinds), dtype=np.int64)
    of_image[drawn[:held]], of_image[drawn[held:half]], of_image[drawn[half:]] = 2, 0, 1
    group = of_image[where]
    return group == 0, group == 1, group == 2


def fit_seeds(
    points: NDArray[np.float32], images: NDArray[np.integer[Any]], k: int, seeds: int, settings: KMeansSettings
) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
    """Centroids of fits from several starts, all on the images that are not held, and which tokens (n,) are held."""
    first, second, held = parts(images, 0)
    seen = np.ascontiguousarray(points[first | second])
    return [_fit(seen, k, settings, "criteria-seed", k, s) for s in range(seeds)], held


def over_seeds(points: NDArray[np.float32], fits: Sequence[NDArray[np.float32]], spherical: bool) -> float | None:
    """Mean adjusted Rand index of all pairs of fits on held points (m, d); None with a single fit."""
    return agreement([assign(points, centroids, spherical) for centroids in fits])


def over_halves(
    points: NDArray[np.float32], images: NDArray[np.integer[Any]], k: int, repeats: int, settings: KMeansSettings
) -> list[float]:
    """Adjusted Rand index of the fits of two halves of the images, of each of repeated cuts, on its held points.

    Args:
        points: (n, d), projected tokens.
        images: (n,) image of each.
        k: number of clusters, at most a quarter of a half's tokens.
        repeats: cuts.
        settings: of the fits.
    """
    found = []
    for repeat in range(repeats):
        *halves, held = parts(images, repeat)
        fits = [_fit(points[half], k, settings, "criteria-half", k, repeat, side) for side, half in enumerate(halves)]
        labels = [assign(points[held], centroids, settings.spherical) for centroids in fits]
        found.append(agreement(labels))
    return [value for value in found if value is not None]


def effective(labels: NDArray[np.integer[Any]], k: int) -> float:
    """Share of the k clusters that are used: exp(entropy of their shares of the points) / k.

    1 where all are equally large, m / k where m of them share all points equally.
    """
    shares = np.bincount(labels, minlength=k) / len(labels)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()) / k)


def _fit(points: NDArray[np.float32], k: int, settings: KMeansSettings, *seed: str | int) -> NDArray[np.float32]:
    return fit_kmeans(points, cap(k, len(points)), derive(*seed), settings, gpu=False).centroids
