"""Which clusters the names on a page belong to, so that `names.yaml` never names others (`patchbank.names`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.files import sha256_file, write_text
from patchbank.report.panel import PanelColumn

DIGITS = 16
KEPT = "names_shown.yaml"
"""In the folder of a set's results: the names that its page shows."""


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


def keep_names(folder: Path, names: Path | None) -> None:
    """Keep the names that a page shows beside it, as `names_shown.yaml`, where exports of the set's rows find them.

    Without names, those of an earlier page go.
    """
    kept = folder / KEPT
    if names is None:
        kept.unlink(missing_ok=True)
    elif not kept.is_file() or not kept.samefile(names):
        write_text(kept, names.read_text(encoding="utf-8"))
