"""What is done to features before they are clustered: centring, scaling, PCA, whitening, normalisation.

A projection is linear, ``y = (x - shift) @ matrix``, optionally followed by L2 normalisation; it is fitted on
training features and stored with the centroids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.centring import EPSILON, Centre, moments, shift_and_scale
from patchbank.bank.statistics import Statistics
from patchbank.errors import UserError

BLOCK = 1024
"""Rows whose covariance is added at a time; bounds the memory of the float64 copy."""


@dataclass(frozen=True)
class ProjectionSettings:
    """How features are prepared for k-means.

    Attributes:
        centre: ``none``, ``mean`` (subtract the training mean) or ``standardise`` (and divide by the deviation).
        pca: number of principal components kept; 0 keeps all channels.
        whiten: divide each principal component by its standard deviation (needs pca > 0).
        normalise: L2-normalise the result (k-means then works with cosine similarity).
    """

    centre: Centre = "mean"
    pca: int = 0
    whiten: bool = False
    normalise: bool = False

    def __post_init__(self) -> None:
        if self.whiten and not self.pca:
            raise UserError("whiten: true needs pca > 0 (whitening acts on principal components).")


@dataclass(frozen=True)
class Projection:
    """A fitted projection.

    Attributes:
        shift: (D,) float32, subtracted.
        matrix: (D, d) float32.
        normalise: whether rows are L2-normalised afterwards.
    """

    shift: NDArray[np.float32]
    matrix: NDArray[np.float32]
    normalise: bool

    def __call__(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Project (n, D) features to (n, d) float32."""
        values = np.empty((len(features), self.matrix.shape[1]), dtype=np.float32)
        for start in range(0, len(features), BLOCK):
            block = (features[start : start + BLOCK].astype(np.float32) - self.shift) @ self.matrix
            if self.normalise:
                block = block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), EPSILON)
            values[start : start + BLOCK] = block
        return values

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs, for storage."""
        return {"shift": self.shift, "matrix": self.matrix, "normalise": np.array(self.normalise, dtype=np.uint8)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Projection:
        """The inverse of `arrays`."""
        return cls(arrays["shift"], arrays["matrix"], bool(arrays["normalise"]))


def fit_projection(
    features: NDArray[np.floating[Any]], settings: ProjectionSettings, statistics: Statistics | None = None
) -> Projection:
    """Fit a projection on training features.

    Args:
        features: (n, D).
        settings: what to do.
        statistics: moments of the training tokens; without them those of `features` are used (embeddings that are
            not tokens, such as pooled segments).

    Returns:
        The projection; its signs are fixed (largest entry of each component positive), so that it is one of a kind.
    """
    dim = features.shape[1]
    if settings.centre != "none" and statistics is None:
        statistics = moments(features)
    shift, scale = shift_and_scale(statistics, settings.centre, dim)
    matrix = np.diag(scale)
    if settings.pca:
        kept = min(settings.pca, dim, len(features))
        total, products = np.zeros(dim), np.zeros((dim, dim))
        for start in range(0, len(features), BLOCK):
            block = (features[start : start + BLOCK].astype(np.float64) - shift) * scale
            total += block.sum(0)
            products += block.T @ block
        offset = total / len(features)
        variance, vectors = np.linalg.eigh(products / len(features) - np.outer(offset, offset))
        variance, vectors = variance[::-1][:kept], vectors[:, ::-1][:, :kept]
        vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(kept)])
        if settings.whiten:
            vectors = vectors / np.sqrt(np.maximum(variance, EPSILON))
        matrix = matrix @ vectors
    return Projection(shift.astype(np.float32), matrix.astype(np.float32), settings.normalise)
