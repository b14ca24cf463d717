"""Published numbers beside ours: only those of the same set, protocol, variant and K, each with its source.

Input: `published.yaml`, whose first lines say what an entry holds. A published number stands beside ours with the
preprocessing and backbone of the paper, because both move it by points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from patchbank.plain import from_plain
from patchbank.report.rows import Row
from patchbank.yaml_text import parse_yaml

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class PublishedNumber:
    """A score of a paper, percent.

    Attributes:
        set: name in `config.yaml`.
        method, backbone: as the paper names them.
        protocol, variant, k: as of a row; `k` None for as many clusters as classes, or inside the image.
        preprocessing: nearest variant of `patchbank.evaluation.preprocessing`.
        score, accuracy: `accuracy` None where the paper gives none.
        source: a link that can be opened and holds the number.
        note: what stands in the way of a comparison.
    """

    set: str
    method: str
    backbone: str
    protocol: str
    preprocessing: str
    score: float
    source: str
    variant: str = ""
    k: int | None = None
    accuracy: float | None = None
    note: str = ""


@cache
def every_number() -> tuple[PublishedNumber, ...]:
    """All published numbers."""
    return tuple(from_plain(PublishedNumber, entry) for entry in parse_yaml(FILE.read_text(encoding="utf-8")))


def published(dataset: str, rows: Sequence[Row]) -> list[PublishedNumber]:
    """Published numbers of a set under the protocols, variants and numbers of clusters of the rows.

    A number without K belongs to a protocol inside the image, or to as many clusters as classes.
    """
    keys = {row.key for row in rows}
    keys |= {(protocol, variant, None) for protocol, variant, _ in keys if protocol != "overcluster"}
    return [
        number
        for number in every_number()
        if number.set == dataset and (number.protocol, number.variant, number.k) in keys
    ]
