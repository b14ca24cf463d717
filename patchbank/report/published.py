"""Published numbers beside ours: only those of the same set, protocol, variant and K, each with its source.

Input: `published.yaml`, whose first lines say what an entry holds. A published number stands beside ours with the
preprocessing and backbone of the paper, because both move it by points.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from patchbank.report.rows import Row
from patchbank.yaml_text import parse_yaml

FILE = Path(__file__).with_name("published.yaml")
FIELDS = {
    "set": None,
    "method": None,
    "backbone": None,
    "protocol": None,
    "variant": "",
    "k": None,
    "preprocessing": None,
    "score": None,
    "accuracy": None,
    "note": "",
    "source": None,
}
"""Fields of an entry with what they are where it does not give them."""


@cache
def every_number() -> tuple[dict[str, Any], ...]:
    """All published numbers, with every field."""
    entries: list[dict[str, Any]] = parse_yaml(FILE.read_text(encoding="utf-8"))
    return tuple(FIELDS | entry for entry in entries)


def published(dataset: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Published numbers of a set under the protocols, variants and numbers of clusters of the rows.

    A number without K belongs to a protocol inside the image, or to as many clusters as classes.
    """
    places = {(row["protocol"], row["variant"], row["k"]) for row in rows}
    places |= {(protocol, variant, None) for protocol, variant, _ in places if protocol != "overcluster"}
    return [
        dict(entry)
        for entry in every_number()
        if entry["set"] == dataset and (entry["protocol"], entry["variant"], entry["k"]) in places
    ]
