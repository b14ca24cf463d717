"""Prediction of `foreground-kmeans`: every patch is background, or of its image's cluster."""

from __future__ import annotations

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_own_arrays
from patchbank.methods.foreground_kmeans.clusters import Fitted
from patchbank.methods.jobs import PredictJob
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track


def predict(job: PredictJob) -> None:
    """Write the predictions of one split, image by image."""
    bank = open_bank(job.banks["whole"])
    fitted = Fitted.from_arrays(load_own_arrays(job.trained(), job.folder, bank.record["backbone"]))
    record = PredictionRecord(
        job.dataset, job.split, job.row, "classes", job.seed, "nearest", bank.input_size, dict(job.settings)
    )
    variants = {name: len(centroids) + 1 for name, centroids in fitted.centroids.items()}
    with PredictionWriter(job.out, record, bank.images, variants, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim)
            for name, k in variants.items():
                writer.write_scores(name, row, fitted.scores(name, tokens).reshape(1, k, *bank.grid))
