"""Settings of `image-kmeans-whitened`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, ruled

TRAITS = Traits(kind="segments", trained=True, recipes=("whole",), floor=True, sees_tokens=True)


@dataclass(frozen=True)
class WhitenedSettings(Settings):
    """What shapes a row, apart from its bank, its statistics and its seed.

    Args:
        segments: of every image.
        sample: how many train tokens the whitening is fitted on, drawn at random.
        pca: principal components that are kept, each divided by its deviation.
    """

    TITLE = "Whitened k-means inside images"
    segments: int = ruled(rules.whole_number(1), 5)
    sample: int = ruled(rules.whole_number(100), 50_000)
    pca: int = ruled(rules.whole_number(1), 64)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, with the centring and the fits that every k-means of the set has in common."""
    return {**WhitenedSettings.resolved(entry, shared, "kmeans"), "centre": shared["centre"]}
