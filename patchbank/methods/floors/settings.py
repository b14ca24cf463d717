"""Settings of the floors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from patchbank.bank.centring import Centre
from patchbank.clustering.kmeans import KMeansSettings
from patchbank.methods.shape import Traits, refuse_unknown

TRAITS = Traits(kind="segments", trained=False, floor=True)
ROWS = {
    "single": TRAITS,
    "voronoi": replace(TRAITS, at_counts=True),
    "image-kmeans": replace(TRAITS, at_counts=True, sees_tokens=True),
}

FloorKind = Literal["voronoi", "image-kmeans", "single"]


@dataclass(frozen=True)
class FloorSettings:
    """One floor.

    Attributes:
        floor: which one.
        q: segments per image.
        centre: what is done to tokens first (as for the method in the row above).
        kmeans: fits of `image-kmeans`; always spherical.
    """

    floor: FloorKind
    q: int = 1
    centre: Centre = "mean"
    kmeans: KMeansSettings = field(default_factory=lambda: KMeansSettings(spherical=True))

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> FloorSettings:
        """From the method's settings."""
        kmeans = KMeansSettings(**settings["kmeans"], spherical=True)
        return cls(cast(FloorKind, settings["floor"]), int(settings["q"]), cast(Centre, settings["centre"]), kmeans)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a floor from its row (of `ROWS`) and its number of segments."""
    refuse_unknown(str(entry["row"]), entry, ["row", "segments"])
    return {
        "floor": entry["row"],
        "q": int(entry.get("segments", 1)),
        "centre": shared["centre"],
        "kmeans": dict(shared["kmeans"]),
    }
