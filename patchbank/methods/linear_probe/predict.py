"""Prediction of `linear-probe`: every token gets the scores of all classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_checkpoint
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
    """Write the predictions of one split, image by image; no label is read here."""
    assert checkpoint is not None
    bank = open_bank(banks["whole"])
    tensors, _ = load_checkpoint(checkpoint)
    weight, bias, mean, std = (tensors[name].numpy() for name in ("weight", "bias", "mean", "std"))
    record = PredictionRecord(dataset, split, method, "classes", seed, "nearest", bank.input_size, dict(settings))
    variants = class_variants(settings["k"], settings["kmeans_seeds"][0], len(bias))
    with PredictionWriter(out, record, bank.images, variants, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {method}", "image"):
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim).astype(np.float32)
            scores = ((tokens - mean) / std @ weight.T + bias).T.reshape(1, len(bias), *bank.grid)
            for name, k in variants.items():
                # clusters beyond the classes are there for protocols with more of them, and are never predicted
                padded = np.pad(scores, ((0, 0), (0, k - len(bias)), (0, 0), (0, 0)), constant_values=-np.inf)
                writer.write_scores(name, row, padded)
