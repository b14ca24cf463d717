"""Settings of the floors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import Centre
from patchbank.errors import UserError
from patchbank.methods.contract import Traits

NAME = re.compile(r"single|(?P<floor>voronoi|image-kmeans)-(?P<q>[1-9][0-9]*)")
TRAITS = Traits(kind="segments", trained=False, floor=True)

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


def resolve(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a floor from its name (``single``, ``voronoi-<q>``, ``image-kmeans-<q>``)."""
    found = NAME.fullmatch(str(own["name"]))
    if not found:
        raise UserError(f"{own['name']!r} is neither a method nor a floor (single, voronoi-<q>, image-kmeans-<q>).")
    return {
        "floor": found["floor"] or "single",
        "q": int(found["q"] or 1),
        "centre": shared["centre"],
        "kmeans": dict(shared["kmeans"]),
    }
