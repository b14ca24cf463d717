"""Settings of the method `kmeans`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import ProjectionSettings
from patchbank.methods.shape import Traits, refuse_unknown

TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), floor=True, sees_tokens=True, fitted=True)


@dataclass(frozen=True)
class TokenKMeansSettings:
    """Token k-means.

    Attributes:
        k: numbers of clusters.
        kmeans_seeds: seeds, each a fit of its own.
        sample: how many train tokens are clustered, drawn at random.
        projection: what is done to tokens first.
        kmeans: the fits.
    """

    k: Sequence[int]
    kmeans_seeds: Sequence[int] = (0, 1, 2, 3, 4)
    sample: int = 50_000
    projection: ProjectionSettings = field(default_factory=ProjectionSettings)
    kmeans: KMeansSettings = field(default_factory=KMeansSettings)

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> TokenKMeansSettings:
        """From the method's entry in the configuration."""
        return cls(
            k=tuple(settings["k"]),
            kmeans_seeds=tuple(settings["kmeans_seeds"]),
            sample=int(settings["sample"]),
            projection=ProjectionSettings(**settings["projection"]),
            kmeans=KMeansSettings(**settings["kmeans"]),
        )


OWN = ("sample", "pca", "whiten", "niter", "nredo")


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the stages from the configuration; `UserError` for a key that does not exist.

    An entry may have a projection (`pca`, `whiten`) and fits (`niter`, `nredo`) of its own, so that a method which
    whitens, or starts k-means more often, has its floor beside the rows that do not.
    """
    refuse_unknown("kmeans", entry, OWN, "the rest stands under clustering")
    projection = {
        "centre": shared["centre"],
        **shared["projection"],
        **{k: entry[k] for k in ("pca", "whiten") if k in entry},
    }
    return {
        "k": list(shared["k"]),
        "kmeans_seeds": list(shared["kmeans_seeds"]),
        "sample": int(entry.get("sample", 50_000)),
        "projection": asdict(ProjectionSettings(**projection)),
        "kmeans": {**shared["kmeans"], **{k: entry[k] for k in ("niter", "nredo") if k in entry}},
    }
