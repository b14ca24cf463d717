"""Training of `incontext-knn`: nothing is learned; labelled train patches are chosen and kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from patchbank import threads as cpu_threads
from patchbank.bank.reader import Bank, open_bank
from patchbank.checkpoints.store import save_checkpoint
from patchbank.datasets import Manifest
from patchbank.datasets.patches import image_pixels
from patchbank.files import write_text
from patchbank.left_out import CannotBeMade
from patchbank.methods.incontext_knn.memory import diverse, shares
from patchbank.methods.incontext_knn.settings import KNNSettings
from patchbank.methods.jobs import TrainJob
from patchbank.progress import track
from patchbank.seeds import generator

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Choose and store the memory, from the train split's bank `whole` and the masks that the manifest names.

    The checkpoint holds `tokens` (M, D), as the bank stores them, and `shares` (M, C) float32, the share of each class
    among a patch's labelled pixels. The log of steps has one row an image: `image`, `patches` kept; that of epochs
    their sum.

    Raises:
        CannotBeMade: no patch of the train split has a labelled pixel.
    """
    used = cpu_threads.limit(job.threads)
    options = KNNSettings.parse(job.settings)
    bank, known = open_bank(job.banks["whole"]), Manifest.load(job.labels())
    tokens, values, kept = [], [], []
    for part, labels in track(_chosen(bank, known, options, job.seed), "memory", "image", total=len(bank)):
        tokens.append(part)
        values.append(labels)
        kept.append(len(part))
    if not sum(kept):
        whose = f"of split {known.train_split!r} of {known.dataset}"
        raise CannotBeMade(
            f"no patch {whose} has a label, and in-context k-NN looks labels up; label some of its images, or leave "
            "the row out."
        )
    LOG.info("a memory of %d patches of %d images (asked for: %s)", sum(kept), len(kept), options.memory or "all")
    record = {
        "method": job.folder,
        "settings": dict(job.settings),
        "seed": job.seed,
        "bank": bank.record["manifest"],
        "backbone": bank.record["backbone"],
        "patches": sum(kept),
        "threads": used,
    }
    tensors = {"tokens": torch.from_numpy(np.concatenate(tokens)), "shares": torch.from_numpy(np.concatenate(values))}
    save_checkpoint(job.files.checkpoint, tensors, record)
    rows = [f"{image},{count}" for image, count in zip(bank.images, kept, strict=True)]
    write_text(job.files.steps_csv, "\n".join(["image,patches", *rows]) + "\n")
    write_text(job.files.epochs_csv, f"patches\n{sum(kept)}\n")


def _chosen(
    bank: Bank, manifest: Manifest, options: KNNSettings, seed: int
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.float32]]]:
    """Tokens (m, D) and shares of classes (m, C) of the patches that are kept of each image, in the bank's order."""
    entries = {entry.id: entry for entry in manifest.entries(manifest.train_split)}
    classes, per_image = len(manifest.classes), bank.tokens_per_view
    memory = options.memory or len(bank) * per_image
    counts = shares(len(bank), memory, generator("knn-images", seed).permutation(len(bank)))
    for row, count in enumerate(counts.tolist()):
        image = bank.images[row]
        pixels = image_pixels(manifest, entries[image], bank.grid) if count else None
        if pixels is None:
            pixels = np.zeros((*bank.grid, classes), np.int64)
        flat = pixels.reshape(-1, classes)
        chosen = diverse(flat, count, generator("knn-patches", seed, image))
        tokens = bank.read([row], ("tokens",))["tokens"].reshape(per_image, bank.dim)[chosen]
        held = flat[chosen].astype(np.float32)
        yield tokens, held / np.maximum(held.sum(1, keepdims=True), 1)
