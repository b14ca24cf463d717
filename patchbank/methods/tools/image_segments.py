"""Segments inside one image by k-means: equal points of an image get equal segments in all rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from patchbank.clustering.kmeans import KMeansSettings, assign, fit_kmeans
from patchbank.left_out import CannotBeMade
from patchbank.seeds import derive


def image_segments(
    points: NDArray[np.float32], q: int, seed: int, image: str, settings: KMeansSettings
) -> NDArray[np.int64]:
    """Segments (n,) of one image: k-means of its own points (n, d) of unit length, by cosine.

    Args:
        points: (n, d) float32.
        q: segments.
        seed: of the row.
        image: content id, by which the fit is seeded, so that it depends on no other image.
        settings: iterations and restarts.

    Raises:
        CannotBeMade: there are fewer points than segments.
    """
    if len(points) < q:
        raise CannotBeMade(
            f"an image has {len(points)} patches, fewer than the {q} segments asked for; ask for fewer segments or a "
            "larger size."
        )
    settings = replace(settings, spherical=True)
    fit = fit_kmeans(points, q, derive("image-kmeans", q, seed, image), settings)
    return assign(points, fit.centroids, spherical=True)
