"""`pseudo_label: token_similarity`: maps without windows and gradients, for backbones whose class token is no help.

Train tokens are centred by the train split's mean, projected to their principal components (whitened or not) and
clustered by k-means; the map of a class is the cosine of every token with its centroid. With ``segments: q`` each token
is first replaced by the mean of its segment, one of q that k-means finds inside the image; the centroids are then those
of all images' segments, each counted once. Everything after the maps is that of the exact method. Ours, not the
published system's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.centring import EPSILON
from patchbank.bank.sample import sample_tokens
from patchbank.bank.statistics import Statistics
from patchbank.clustering.kmeans import KMeansSettings, fit_kmeans
from patchbank.clustering.projection import Projection, ProjectionSettings, fit_projection
from patchbank.methods.tools.image_segments import image_segments
from patchbank.methods.transfgu.centroids import Centroids, mean_of_members
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.progress import track
from patchbank.seeds import derive

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

SEGMENT_RESTARTS = 3
"""Restarts of k-means inside an image (`clustering.nredo`'s default), which runs twice an image of a training."""


@dataclass(frozen=True)
class Smoothing:
    """Means inside the segments of an image in place of its tokens.

    Attributes:
        segments: how many; 0 leaves tokens as they are.
        seed: of the run.
        kmeans: iterations and restarts inside an image.
        centre: (D,), subtracted before tokens are compared.
    """

    segments: int
    seed: int
    kmeans: KMeansSettings
    centre: NDArray[np.float32]

    def __call__(self, tokens: NDArray[np.floating], image: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Means (q, D) of tokens (N, D), in the order of their segments, and the row (N,) of each token.

        A segment without tokens has no mean; without smoothing every token is its own.
        """
        values = tokens.astype(np.float32)
        if not self.segments:
            return values, np.arange(len(values))
        labels = image_segments(_unit(values - self.centre), self.segments, self.seed, image, self.kmeans)
        used, rows, sizes = np.unique(labels, return_inverse=True, return_counts=True)
        sums = (rows == np.arange(len(used))[:, None]).astype(np.float32) @ values
        return sums / sizes[:, None].astype(np.float32), rows


@dataclass(frozen=True)
class TokenClasses:
    """A projection and the centroids of its space.

    Attributes:
        projection: tokens (n, D) -> (n, d).
        centroids: (K, d).
        smoothing: what stands for a token.
    """

    projection: Projection
    centroids: Centroids
    smoothing: Smoothing

    @classmethod
    def of(cls, projection: Projection, centroids: Centroids, settings: TransFGUSettings, seed: int) -> TokenClasses:
        """Those of a run, whose segments its settings and its seed decide."""
        return cls(projection, centroids, _smoothing(settings, seed, projection.shift))

    def maps(self, tokens: NDArray[np.floating], image: str) -> NDArray[np.float32]:
        """Cosines (K, N) of the tokens (N, D) of one image, named by its content id, with every centroid."""
        means, rows = self.smoothing(tokens, image)
        points, centres = _unit(self.projection(means)), _unit(self.centroids.vectors)
        cosines: NDArray[np.float32] = (centres @ points.T)[:, rows]
        return cosines


def fit_token_classes(bank: Bank, statistics: Statistics, settings: TransFGUSettings, seed: int) -> TokenClasses:
    """Fit on a sample of the tokens of a train split's `whole` bank, or on all its images' segments.

    Raises:
        UserError: fewer tokens (segments) than classes, or a class without members.
    """
    tokens = sample_tokens(bank, settings.sample, seed)
    options = ProjectionSettings(centre="mean", pca=settings.pca, whiten=settings.whiten)
    projection = fit_projection(tokens, options, statistics)
    smoothing = _smoothing(settings, seed, projection.shift)
    if settings.segments:
        rows = track(range(len(bank.images)), "segments", unit="image")
        tokens = np.concatenate([smoothing(image_tokens(bank, row), bank.images[row])[0] for row in rows])
    points = projection(tokens)
    kmeans = KMeansSettings(niter=settings.niter, nredo=settings.nredo)
    fit = fit_kmeans(points, settings.maps, derive("transfgu token classes", seed), kmeans)
    centroids = Centroids(*mean_of_members(points, fit.centroids, "token classes"))
    return TokenClasses(projection, centroids, smoothing)


def image_tokens(bank: Bank, row: int) -> NDArray[np.floating]:
    """Tokens (N, D) of the first draw of an image."""
    return bank.read([row * bank.draws], ("tokens",))["tokens"].reshape(-1, bank.dim)


def _smoothing(settings: TransFGUSettings, seed: int, centre: NDArray[np.float32]) -> Smoothing:
    inside = KMeansSettings(niter=settings.niter, nredo=min(settings.nredo, SEGMENT_RESTARTS))
    return Smoothing(settings.segments, seed, inside, centre)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), EPSILON)
    unit: NDArray[np.float32] = (vectors / norms).astype(np.float32)
    return unit
