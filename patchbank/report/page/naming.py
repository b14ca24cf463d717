"""Which clusters the names on a page belong to, so that `names.yaml` never names others (`patchbank.names`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from patchbank.files import sha256_file, write_text
from patchbank.names import FORMAT, dataset_of, load_names
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


def keep_names(folder: Path, names: Path | None, shown: Mapping[str, Clustering]) -> None:
    """Keep the names that a page shows beside it, as `names_shown.yaml`, where exports of the set's rows find them.

    Each row says which clusters it names, whether `names` does or not. Without names, those of an earlier page go.

    Args:
        folder: of the page.
        names: `names.yaml`, None for none.
        shown: the clusters that the page shows, by row.
    """
    kept = folder / KEPT
    if names is None:
        kept.unlink(missing_ok=True)
        return
    given = {one.row: dict(one.names) for one in load_names(names) if one.row in shown}
    rows = {row: {**asdict(shown[row]), "names": words} for row, words in given.items()}
    content = {"format": FORMAT, "dataset": dataset_of(names), "rows": rows}
    write_text(kept, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
