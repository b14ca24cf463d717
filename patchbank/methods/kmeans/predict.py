"""Prediction of `kmeans`: every token gets the scores of all centroids, one variant per (K, seed)."""

from __future__ import annotations

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_own_arrays
from patchbank.clustering.kmeans import scores
from patchbank.clustering.projection import Projection
from patchbank.methods.jobs import PredictJob
from patchbank.methods.kmeans.settings import TokenKMeansSettings
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track
from patchbank.variants import is_variant


def predict(job: PredictJob) -> None:
    """Write the predictions of one split, image by image."""
    options = TokenKMeansSettings.parse(job.settings)
    bank = open_bank(job.banks["whole"])
    arrays = load_own_arrays(job.trained(), job.folder, bank.record["backbone"])
    projection = Projection.from_arrays(arrays)
    centroids = {name: array for name, array in arrays.items() if is_variant(name)}
    record = PredictionRecord(
        job.dataset, job.split, job.row, "classes", job.seed, "nearest", bank.input_size, dict(job.settings)
    )
    variants = {name: len(array) for name, array in centroids.items()}
    with PredictionWriter(job.out, record, bank.images, variants, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            points = projection(bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim))
            for name, centres in centroids.items():
                value = scores(points, centres, options.kmeans.spherical)
                writer.write_scores(name, row, value.T.reshape(1, len(centres), *bank.grid))
