"""How segments are clustered over a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from patchbank.bank.centring import Centre
from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import ProjectionSettings


@dataclass(frozen=True)
class SegmentClusterSettings:
    """Clustering of segment embeddings.

    Attributes:
        k: numbers of clusters asked for.
        kmeans_seeds: one fit each.
        centre: what the train tokens' statistics do to the pooled tokens (as for every k-means).
        projection: what is done to the pooled embeddings.
        kmeans: the fits.
        sample: about how many training segments are clustered at most; bounds the memory.
    """

    k: tuple[int, ...]
    kmeans_seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    centre: Centre = "mean"
    projection: ProjectionSettings = field(default_factory=lambda: ProjectionSettings(centre="none"))
    kmeans: KMeansSettings = field(default_factory=KMeansSettings)
    sample: int = 50_000

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> SegmentClusterSettings:
        """From the configuration."""
        return cls(
            k=tuple(settings["k"]),
            kmeans_seeds=tuple(settings["kmeans_seeds"]),
            centre=settings["centre"],
            projection=ProjectionSettings(centre="none", **settings["projection"]),
            kmeans=KMeansSettings(**settings["kmeans"]),
        )
