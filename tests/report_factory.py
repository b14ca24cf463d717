"""Scores of a small set with odd names, and what a report says of their context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchbank.files import write_json
from patchbank.plain import from_plain, to_plain
from patchbank.report.build import ReportContext
from patchbank.report.content import BackboneContext
from patchbank.report.rows import Row

CLASSES = ("sky", "pole|sign", "road")
CONTEXT = ReportContext(
    dataset="toy",
    classes=CLASSES,
    images={"train": 64, "eval": 32},
    backbone=BackboneContext(
        "tiny", "vit_tiny_patch16_224", 8, False, (448, 448), "float32", "ab" * 32, "tuned for saliency"
    ),
    fit="train",
    preprocessing="squash_448_100",
    config="0123abcd",
    seeds={"training": [0, 1, 2], "kmeans": [0, 1, 2, 3, 4]},
    threads=2,
)


def scores_file(folder: Path, rows: Sequence[Row], name: str = "scores.json") -> Path:
    write_json(folder / name, {"rows": [to_plain(row) for row in rows], "matching": None})
    return folder / name


def make_row(method: str, protocol: str, mean: float, **changes: Any) -> Row:
    row: dict[str, Any] = {
        "method": method,
        "protocol": protocol,
        "variant": "",
        "k": 3,
        "k_used": [3],
        "preprocessing": "squash_448_100",
        "fit": "train",
        "segments": 4.6,
        "settings": {},
        "floor": False,
        "ceiling": False,
        "oracle": None,
        "seeds": {"training": [0, 1, 2], "kmeans": [0, 1, 2, 3, 4]},
        "miou": {"mean": mean, "std": 2.4, "n": 15},
        "accuracy": {"mean": mean + 10, "std": 1.0, "n": 15},
        "class_accuracy": None,
        "per_class": [mean, None, 7.0],
        "note": "",
    }
    return from_plain(Row, row | changes)


def make_floor(method: str, protocol: str, mean: float, **changes: Any) -> Row:
    number = method.rpartition("-")[2]
    own = {"floor": True, "miou": {"mean": mean, "std": 1.0, "n": 5}, "segments": 5.0}
    own |= {"sees_tokens": "kmeans" in method, "at": int(number) if number.isdigit() else 0}
    return make_row(method, protocol, mean, **(own | {"seeds": {"training": [], "kmeans": [0, 1, 2, 3, 4]}} | changes))


ROWS = [
    make_row("alignseg", "hungarian", 18.3),
    make_row("alignseg", "overcluster", 55.6, k=300, k_used=[88], variant="precision"),
    make_floor("image-kmeans-5", "hungarian", 21.9),
    make_floor("kmeans", "hungarian", 17.0),
    make_floor("image-kmeans-5", "overcluster", 50.0, k=300, k_used=[300], variant="precision"),
    make_row("grid-majority", "hungarian", 95.0, ceiling=True),
]
