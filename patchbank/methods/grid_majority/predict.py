"""Majority classes of the patches of one split, read from its masks."""

from __future__ import annotations

import numpy as np

from patchbank.bank.reader import open_bank
from patchbank.datasets import Manifest
from patchbank.datasets.patches import NONE, image_patches
from patchbank.left_out import CannotBeMade
from patchbank.methods.jobs import PredictJob
from patchbank.predictions import PredictionRecord, PredictionWriter, class_variants
from patchbank.progress import track


def predict(job: PredictJob) -> None:
    """Write the classes of one split.

    A patch without a labelled pixel gets the image's most frequent class; where there is none, class 0. Neither is
    scored but for pixels at the border of a patch.

    Raises:
        CannotBeMade: no patch of the split has a labelled pixel.
    """
    bank, known = open_bank(job.banks["whole"]), Manifest.load(job.labels())
    entries = {entry.id: entry for entry in known.entries(job.split)}
    record = PredictionRecord(
        job.dataset, job.split, job.row, "classes", job.seed, "nearest", bank.input_size, dict(job.settings)
    )
    variants = class_variants(job.settings["k"], job.settings["kmeans_seeds"][0], len(known.classes))
    seen = 0
    with PredictionWriter(job.out, record, bank.images, variants, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            patches = image_patches(known, entries[bank.images[row]], bank.grid)
            labels = np.zeros(bank.grid, np.int64) if patches is None else patches
            labelled = labels[labels != NONE]
            seen += 0 if patches is None else len(labelled)
            frequent = int(np.bincount(labelled).argmax()) if len(labelled) else 0
            for name in variants:
                writer.write_labels(name, row, np.where(labels == NONE, frequent, labels)[None])
        if not seen:
            whose = f"split {job.split!r} of {known.dataset}"
            raise CannotBeMade(f"no pixel of {whose} is labelled; label some of its images, or leave the row out.")
