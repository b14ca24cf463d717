"""Settings of CAUSE-MLP, checked once; what they are says `patchbank.methods.tools.cause.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchbank.methods.shape import Traits
from patchbank.methods.tools.cause.settings import CauseSettings, cause_traits

TITLE = "CAUSE-MLP"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), epochs=True, curves=True, codes=True)


@dataclass(frozen=True)
class TokenSettings(CauseSettings):
    """Those that both heads have, at their defaults."""

    TITLE = TITLE


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters with their fits."""
    return TokenSettings.resolved(entry, shared, "k", "kmeans_seeds", "kmeans")


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings: with the leak, labels are used and rows say so."""
    return cause_traits(TRAITS, settings)
