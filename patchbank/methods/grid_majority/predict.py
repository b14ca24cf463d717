"""Majority classes of the patches of one split, read from its masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.bank.reader import open_bank
from patchbank.datasets import Manifest
from patchbank.datasets.patches import NONE, image_patches
from patchbank.predictions import PredictionRecord, PredictionWriter, class_variants
from patchbank.progress import track


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
    manifest: Path,
    threads: int | None = None,
) -> None:
    """Write the classes of one split.

    A patch without a labelled pixel gets the image's most frequent class; where there is none, class 0. Neither is
    scored but for pixels at the border of a patch.
    """
    bank, known = open_bank(banks["whole"]), Manifest.load(manifest)
    entries = {entry.id: entry for entry in known.entries(split)}
    record = PredictionRecord(dataset, split, method, "classes", seed, "nearest", bank.input_size, dict(settings))
    variants = class_variants(settings["k"], settings["kmeans_seeds"][0], len(known.classes))
    with PredictionWriter(out, record, bank.images, variants, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {method}", "image"):
            found = image_patches(known, entries[bank.images[row]], bank.grid)
            labels = np.zeros(bank.grid, np.int64) if found is None else found
            labelled = labels[labels != NONE]
            frequent = int(np.bincount(labelled).argmax()) if len(labelled) else 0
            for name in variants:
                writer.write_labels(name, row, np.where(labels == NONE, frequent, labels)[None])
