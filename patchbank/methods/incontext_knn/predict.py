"""Prediction of `incontext-knn`: every patch gets class probabilities from its nearest keys.

They go to pixels by bilinear upsampling, then argmax. Where the set has more than `MAX_SCORES` classes a prediction
file holds no scores: then they are upsampled to the input size here, and the labels stored at that size. A variant with
more clusters than that, of a set with fewer classes, holds the argmax of the patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from patchbank import threads as cpu_threads
from patchbank.bank.reader import Bank, open_bank
from patchbank.checkpoints.store import check_backbone
from patchbank.methods.incontext_knn.memory import BLOCK, Floats, attend, blocks, nearest, unit
from patchbank.methods.incontext_knn.settings import KNNSettings
from patchbank.methods.jobs import PredictJob
from patchbank.methods.tools.heads import load_own
from patchbank.predictions import MAX_SCORES, PredictionRecord, PredictionWriter, class_variants
from patchbank.progress import track

QUERIES = 1 << 16
"""Patches that are looked up in one walk over a memory of several blocks."""


def predict(job: PredictJob) -> None:
    """Write the predictions of one split; no label of it is read.

    Raises:
        UserError: no checkpoint, or a memory of another backbone's tokens.
    """
    cpu_threads.limit(job.threads)
    bank = open_bank(job.banks["whole"])
    tensors, trained = load_own(job.trained(), job.folder)
    check_backbone(trained, bank.record["backbone"], job.trained())
    classes = tensors["shares"].shape[1]
    stored: Literal["bilinear", "nearest"] = "bilinear" if classes <= MAX_SCORES else "nearest"
    record = PredictionRecord(
        job.dataset, job.split, job.row, "classes", job.seed, stored, bank.input_size, dict(job.settings)
    )
    variants = class_variants(job.settings["k"], job.settings["kmeans_seeds"][0], classes)
    size = bank.grid if stored == "bilinear" else bank.input_size
    with PredictionWriter(job.out, record, bank.images, variants, size) as writer:
        found = probabilities(bank, tensors, KNNSettings.parse(job.settings))
        for row, image in enumerate(track(found, f"predict {job.row}", "image", total=len(bank))):
            scores = image.T.reshape(1, classes, *bank.grid)
            if stored == "nearest":
                large = interpolate(torch.from_numpy(scores), size, mode="bilinear", align_corners=False)
                labels = large.argmax(1).numpy()
                for name in variants:
                    writer.write_labels(name, row, labels)
                continue
            for name, k in variants.items():
                # clusters beyond the classes are there for protocols with more of them, and are never predicted
                more = ((0, 0), (0, k - classes), (0, 0), (0, 0))
                writer.write_scores(name, row, np.pad(scores, more, constant_values=-np.inf))


def probabilities(bank: Bank, tensors: Mapping[str, Tensor], options: KNNSettings) -> Iterator[Floats]:
    """Class probabilities (N, C) of every image of a bank `whole`, in its order.

    Args:
        bank: whose tokens are looked up.
        tensors: `tokens` (M, D) and `shares` (M, C) of the memory.
        options: neighbours and beta.
    """
    keys, values = tensors["tokens"].numpy(), tensors["shares"].numpy()
    kept = list(blocks(keys)) if len(keys) <= BLOCK else None  # one block is not made anew for every walk
    step = max(1, QUERIES // bank.tokens_per_view) if kept is None else 1
    for start in range(0, len(bank), step):
        rows = np.arange(start, min(start + step, len(bank)))
        queries = unit(bank.read(rows, ("tokens",))["tokens"].reshape(-1, bank.dim))
        cosines, index = nearest(queries, iter(kept or blocks(keys)), options.neighbours)
        for image in np.split(np.arange(len(queries)), len(rows)):
            yield attend(cosines[image], values[index[image]], options.beta)
