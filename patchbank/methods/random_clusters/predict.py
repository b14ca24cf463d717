"""Random cluster ids, patch by patch; an image's are seeded by (K, k-means seed, seed, image)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.bank.reader import open_bank
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track
from patchbank.seeds import generator


def predict(
    *,
    banks: Mapping[str, Path],
    statistics: Path,
    checkpoint: Path | None,
    settings: Mapping[str, Any],
    seed: int,
    dataset: str,
    split: str,
    method: str,
    out: Path,
    threads: int | None = None,
) -> None:
    """Write the ids of one split, one variant per number of clusters and k-means seed."""
    bank = open_bank(banks["whole"])
    record = PredictionRecord(dataset, split, method, "classes", seed, "nearest", bank.input_size, dict(settings))
    runs = {f"k{k}-s{s}": (k, s) for k in settings["k"] for s in settings["kmeans_seeds"]}
    with PredictionWriter(out, record, bank.images, {name: k for name, (k, _) in runs.items()}, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {method}", "image"):
            for name, (k, s) in runs.items():
                rng = generator("random-clusters", k, s, seed, bank.images[row])
                writer.write_labels(name, row, rng.integers(0, k, (1, *bank.grid)))
