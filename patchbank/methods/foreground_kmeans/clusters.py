"""From an image's tokens to scores of the background and of clusters of foregrounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.clustering.kmeans import scores
from patchbank.clustering.projection import Projection
from patchbank.methods.tools.foreground_split import Split, with_background
from patchbank.variants import is_variant


@dataclass(frozen=True)
class Fitted:
    """What training found.

    Attributes:
        split: foreground against background.
        projection: of a foreground's mean token.
        centroids: variant -> (K - 1, d) float32, those of foregrounds; cluster 0 is the background.
        spherical: whether the nearest centroid is that of the largest inner product.
    """

    split: Split
    projection: Projection
    centroids: Mapping[str, NDArray[np.float32]]
    spherical: bool

    def embed(self, tokens: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Margins (N,) of one image's tokens (N, D), and its foreground's embedding (d,); None where it has none."""
        margins = self.split.margins(tokens)
        inside = margins > 0
        if not inside.any():
            return margins, None
        mean = tokens[inside].astype(np.float32).mean(0, keepdims=True)
        return margins, self.projection(mean)[0]

    def scores(self, variant: str, tokens: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Scores (K, N) of one image's tokens (N, D).

        0 for the background; for the image's cluster the margin, so that edges can be interpolated between patches;
        for any other cluster less, by how much farther it is.
        """
        margins, embedding = self.embed(tokens)
        centroids = self.centroids[variant]
        near = np.zeros(len(centroids), np.float32)
        if embedding is not None:
            near = scores(embedding[None], centroids, self.spherical)[0]
        return with_background(near[None], margins).T

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs, for storage."""
        return {
            **self.projection.arrays(),
            **self.split.arrays(),
            "spherical": np.array(self.spherical, dtype=np.uint8),
            **self.centroids,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Fitted:
        """The inverse of `arrays`."""
        centroids = {name: array for name, array in arrays.items() if is_variant(name)}
        return cls(Split.from_arrays(arrays), Projection.from_arrays(arrays), centroids, bool(arrays["spherical"]))
