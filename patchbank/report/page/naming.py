"""Which clusters the names on a page belong to, so that `names.yaml` never names others (`patchbank.exports.names`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.files import sha256_file
from patchbank.report.panel import PanelColumn

DIGITS = 16


@dataclass(frozen=True)
class Clustering:
    """The clusters of one row: ``k<asked>-s<seed>``, and the beginning of the SHA-256 of the file that holds them."""

    variant: str
    fit: str


def clusterings(columns: Sequence[PanelColumn]) -> Mapping[str, Clustering]:
    """The clusters that each column shows, by its title."""
    return {one.title: Clustering(one.clustering, fit_of(one.prediction.parent)) for one in columns}


def fit_of(seed_folder: Path) -> str:
    """The beginning of the SHA-256 of `clusters.npz` of a training, else of its checkpoint; "" where there is none."""
    files = [seed_folder / name for name in ("clusters.npz", "checkpoint.safetensors")]
    return next((sha256_file(path)[:DIGITS] for path in files if path.is_file()), "")
