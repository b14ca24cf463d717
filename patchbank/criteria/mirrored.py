"""Agreement with the mirror image: whether a patch keeps its cluster when the image is turned from right to left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchbank.clustering.agreement import agreement
from patchbank.clustering.kmeans import assign


def mirror_agreement(
    points: NDArray[np.float32],
    mirrored: NDArray[np.float32],
    grid: tuple[int, int],
    fits: Sequence[NDArray[np.float32]],
    spherical: bool,
) -> float:
    """Mean over fits of the adjusted Rand index between clusters of patches and of those in the mirror image.

    Args:
        points: (n, h * w, d) projected tokens of whole images.
        mirrored: likewise, of their mirror images, where patches stand where the mirror image has them.
        grid: (h, w).
        fits: centroids (k, d) each.
        spherical: whether the nearest centroid is that of the largest product.
    """
    back = mirrored.reshape(len(points), *grid, -1)[:, :, ::-1].reshape(points.shape)
    found = [
        agreement([assign(tokens.reshape(-1, tokens.shape[-1]), centroids, spherical) for tokens in (points, back)])
        for centroids in fits
    ]
    return float(np.mean([value for value in found if value is not None]))
