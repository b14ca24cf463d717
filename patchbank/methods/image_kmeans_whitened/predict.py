"""Prediction of `image-kmeans-whitened`: segments of every image, and the metric that they are clustered by."""

from __future__ import annotations

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_own_arrays
from patchbank.clustering.projection import Projection
from patchbank.methods.image_kmeans_whitened.segments import segments_of
from patchbank.methods.jobs import PredictJob
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track


def predict(job: PredictJob) -> None:
    """Write the segments of one split, image by image."""
    bank = open_bank(job.banks["whole"])
    arrays = load_own_arrays(job.trained(), job.folder, bank.record["backbone"])
    whitening = Projection.from_arrays(arrays)
    record = PredictionRecord(
        job.dataset, job.split, job.row, "segments", job.seed, "nearest", bank.input_size, dict(job.settings)
    )
    variants = {"segments": int(job.settings["segments"])}
    with PredictionWriter(job.out, record, bank.images, variants, bank.grid, arrays["metric"]) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim)
            labels = segments_of(tokens, whitening, job.settings, job.seed, bank.images[row])
            writer.write_labels("segments", row, labels.reshape(1, *bank.grid))
