"""Segments of one image: spherical k-means of its whitened tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import Projection
from patchbank.methods.tools.image_segments import image_segments


def segments_of(
    tokens: NDArray[np.floating[Any]], whitening: Projection, settings: Mapping[str, Any], seed: int, image: str
) -> NDArray[np.int64]:
    """Segments (N,) of one image.

    Args:
        tokens: (N, D).
        whitening: fitted on train tokens; its results have unit length.
        settings: resolved ones of the method.
        seed: of the row.
        image: content id, of which the fit is seeded, so that it depends on no other image.
    """
    return image_segments(
        whitening(tokens), int(settings["segments"]), seed, image, KMeansSettings(**settings["kmeans"])
    )
