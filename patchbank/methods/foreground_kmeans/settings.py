"""Settings of `foreground-kmeans`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, refuse_background_alone, ruled

TITLE = "Foreground"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), fitted=True)


@dataclass(frozen=True)
class ForegroundSettings(Settings):
    """What shapes a row, apart from its bank, its statistics and its seed.

    Args:
        threshold: where the foreground begins along the first principal direction: ``set``, one number for all
            images, or ``image``, one for each. Both by Otsu's rule.
        sample: how many train tokens give the principal directions, drawn at random.
        pca: principal components of a foreground's mean token that are clustered.
        whiten: divide each by its deviation over all tokens.
    """

    TITLE = TITLE
    threshold: str = ruled(rules.choice("set", "image"), "set")
    sample: int = ruled(rules.whole_number(100), 50_000)
    pca: int = ruled(rules.whole_number(1), 64)
    whiten: bool = ruled(rules.flag, True)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and those of the clusters; one of K is the background, so that K is 2 or more."""
    settings = ForegroundSettings.resolved(entry, shared, "k", "kmeans_seeds", "kmeans")
    refuse_background_alone(TITLE, settings["k"])
    return settings
