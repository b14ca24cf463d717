"""How criteria are measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import ProjectionSettings

WHITENED = 64
"""Principal components that are whitened where the projection keeps all channels."""


@dataclass(frozen=True)
class CriteriaSettings:
    """How criteria are measured.

    Attributes:
        k: number of clusters.
        sample: tokens, the same number of every image.
        repeats: k-means seeds, and cuts of the images into halves.
        silhouette: tokens of the silhouette; its time grows with their square.
        mirrored: images that are compared with their mirror images.
        projection: what is done to tokens before k-means.
        kmeans: the fits.
    """

    k: int
    sample: int = 20_000
    repeats: int = 5
    silhouette: int = 4_000
    mirrored: int = 100
    projection: ProjectionSettings = field(default_factory=ProjectionSettings)
    kmeans: KMeansSettings = field(default_factory=KMeansSettings)

    @property
    def whitened(self) -> ProjectionSettings:
        """The projection with whitening."""
        return replace(self.projection, pca=self.projection.pca or WHITENED, whiten=True)
