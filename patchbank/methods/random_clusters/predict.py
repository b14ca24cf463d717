"""Random cluster ids, patch by patch; an image's are seeded by (K, k-means seed, seed, image)."""

from __future__ import annotations

from patchbank.bank.reader import open_bank
from patchbank.methods.jobs import PredictJob
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track
from patchbank.seeds import generator
from patchbank.variants import variant_name


def predict(job: PredictJob) -> None:
    """Write the ids of one split, one variant per number of clusters and k-means seed."""
    bank = open_bank(job.banks["whole"])
    record = PredictionRecord(
        job.dataset, job.split, job.row, "classes", job.seed, "nearest", bank.input_size, dict(job.settings)
    )
    runs = {variant_name(k, s): (k, s) for k in job.settings["k"] for s in job.settings["kmeans_seeds"]}
    with PredictionWriter(
        job.out, record, bank.images, {name: k for name, (k, _) in runs.items()}, bank.grid
    ) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            for name, (k, s) in runs.items():
                rng = generator("random-clusters", k, s, job.seed, bank.images[row])
                writer.write_labels(name, row, rng.integers(0, k, (1, *bank.grid)))
