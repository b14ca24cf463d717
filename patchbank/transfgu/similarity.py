"""`pseudo_label: token_similarity`: maps without windows and gradients, for backbones whose class token is no help.

Train tokens are centred by the train split's mean, projected to their principal components (whitened or not) and
clustered by k-means; the map of a class is the cosine of every token with its centroid. Everything after the maps is
that of the exact method. Ours, not the published system's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.statistics import Statistics
from patchbank.clustering.kmeans import KMeansSettings, fit_kmeans
from patchbank.clustering.projection import EPSILON, Projection, ProjectionSettings, fit_projection
from patchbank.kmeans.train import sample_tokens
from patchbank.seeds import derive
from patchbank.transfgu.centroids import Centroids, mean_of_members
from patchbank.transfgu.settings import TransFGUSettings

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank


@dataclass(frozen=True)
class TokenClasses:
    """A projection and the centroids of its space.

    Attributes:
        projection: tokens (n, D) -> (n, d).
        centroids: (K, d).
    """

    projection: Projection
    centroids: Centroids

    def maps(self, tokens: NDArray[np.floating]) -> NDArray[np.float32]:
        """Cosines (K, N) of tokens (N, D) with every centroid."""
        points, centres = _unit(self.projection(tokens)), _unit(self.centroids.vectors)
        return centres @ points.T


def fit_token_classes(bank: Bank, statistics: Statistics, settings: TransFGUSettings, seed: int) -> TokenClasses:
    """Fit on a sample of the tokens of a train split's `whole` bank.

    Raises:
        UserError: fewer tokens than classes, or a class without members.
    """
    tokens = sample_tokens(bank, settings.sample, seed)
    options = ProjectionSettings(centre="mean", pca=settings.pca, whiten=settings.whiten)
    projection = fit_projection(tokens, options, statistics)
    points = projection(tokens)
    kmeans = KMeansSettings(niter=settings.niter, nredo=settings.nredo)
    fit = fit_kmeans(points, settings.maps, derive("transfgu token classes", seed), kmeans)
    return TokenClasses(projection, Centroids(*mean_of_members(points, fit.centroids, "token classes")))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), EPSILON)
    unit: NDArray[np.float32] = (vectors / norms).astype(np.float32)
    return unit
