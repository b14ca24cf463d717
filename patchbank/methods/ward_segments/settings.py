"""Settings of `ward-segments`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, refuse_background_alone, ruled

TRAITS = Traits(kind="classes", trained=True, recipes=("whole",))


@dataclass(frozen=True)
class WardSettings(Settings):
    """What shapes a row, apart from its bank, its statistics and its seed.

    Args:
        codes: a row of the same set by whose codes tokens are compared, too; empty for whitened tokens alone.
        segments: of every image.
        background: one class is the background, as of sets of objects: that of segments that lie, by the mean over
            their patches, below Otsu's threshold of their image along the first principal direction of the set's
            tokens. The others are joined into one class less.
        most: segments of the images that are used, drawn at random where the set has more: Ward's distances of all
            pairs take 8 bytes times the square of it, 0.8 GB. Those of the background are among them.
        sample: how many train tokens the whitening is fitted on, drawn at random.
        pca: principal components that are kept, each divided by its deviation.
    """

    TITLE = "Ward's segments"
    codes: str = ruled(rules.text, "")
    segments: int = ruled(rules.whole_number(1), 8)
    background: bool = ruled(rules.flag, False)
    most: int = ruled(rules.whole_number(1, 20_000), 10_000)
    sample: int = ruled(rules.whole_number(100), 50_000)
    pca: int = ruled(rules.whole_number(1), 64)

    def combined(self, wrong: Sequence[str]) -> list[str]:
        """An image of which not all segments would be joined."""
        if wrong or self.most >= self.segments:
            return []
        return [f"most is {self.most}, fewer than the {self.segments} segments of one image"]


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, with the centring, the fits and the numbers of clusters of the set."""
    found = WardSettings.resolved(entry, shared, "k", "kmeans_seeds", "kmeans")
    if found["background"]:
        refuse_background_alone(WardSettings.TITLE, found["k"], ", or background: false")
    return {**found, "centre": shared["centre"]}


def after(settings: Mapping[str, Any]) -> str:
    """The row whose codes are read; empty where none are."""
    return str(settings["codes"])
