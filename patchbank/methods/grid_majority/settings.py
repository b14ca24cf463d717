"""Settings of the ceiling `grid-majority`: the numbers of clusters under which it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbank.methods.shape import Traits, refuse_unknown

TRAITS = Traits(kind="classes", trained=False, ceiling=True, one_seed=True, oracle="val")


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The same ids stand under every number of clusters, so that every protocol has the ceiling."""
    refuse_unknown("grid-majority", entry)
    return {"k": list(shared["k"]), "kmeans_seeds": list(shared["kmeans_seeds"])[:1]}
