"""Prediction of `linear-probe`: every token gets the scores of all classes."""

from __future__ import annotations

import numpy as np

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_own_arrays
from patchbank.methods.jobs import PredictJob
from patchbank.predictions import PredictionRecord, PredictionWriter, class_variants
from patchbank.progress import track


def predict(job: PredictJob) -> None:
    """Write the predictions of one split, image by image; no label is read here."""
    bank = open_bank(job.banks["whole"])
    arrays = load_own_arrays(job.trained(), job.folder, bank.record["backbone"])
    weight, bias, mean, std = (arrays[name] for name in ("weight", "bias", "mean", "std"))
    record = PredictionRecord(
        job.dataset, job.split, job.row, "classes", job.seed, "nearest", bank.input_size, dict(job.settings)
    )
    variants = class_variants(job.settings["k"], job.settings["kmeans_seeds"][0], len(bias))
    with PredictionWriter(job.out, record, bank.images, variants, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim).astype(np.float32)
            scores = ((tokens - mean) / std @ weight.T + bias).T.reshape(1, len(bias), *bank.grid)
            for name, k in variants.items():
                # clusters beyond the classes are there for protocols with more of them, and are never predicted
                padded = np.pad(scores, ((0, 0), (0, k - len(bias)), (0, 0), (0, 0)), constant_values=-np.inf)
                writer.write_scores(name, row, padded)
