"""Settings of the floor `random-clusters`: the numbers of clusters and the seeds of the table's k-means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbank.methods.shape import Traits, refuse_unknown

TRAITS = Traits(kind="classes", trained=False, floor=True, one_seed=True)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """`k` and `kmeans_seeds`, as for every k-means of the set."""
    refuse_unknown("random-clusters", entry)
    return {"k": list(shared["k"]), "kmeans_seeds": list(shared["kmeans_seeds"])}
