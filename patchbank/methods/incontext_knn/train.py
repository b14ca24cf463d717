"""Training of `incontext-knn`: nothing is learned; labelled train patches are chosen and kept."""

from __future__ import annotations

import logging
import os
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
from patchbank.methods.tools.apart import check_apart
from patchbank.progress import track
from patchbank.seeds import generator

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Choose and store the memory, from the train split's bank `whole` and the masks that the manifest names.

    The checkpoint holds `tokens` (M, D), as the bank stores them, and `shares` (M, C) float32, the share of each class
    among a patch's labelled pixels. The log of steps has one row an image: `image`, `patches` kept; that of epochs
    their sum.

    Raises:
        CannotBeMade: no patch of the train split has a labelled pixel, its pictures are the scored ones, or the memory
            is larger than what is free.
    """
    used = cpu_threads.limit(job.threads)
    options = KNNSettings.parse(job.settings)
    bank, known = open_bank(job.banks["whole"]), Manifest.load(job.labels())
    whose = f"split {known.train_split!r} of {known.dataset}"
    entries = known.entries(known.train_split)
    check_apart(known, "in-context k-NN would find each patch and its label again")
    masks = sum(entry.mask is not None for entry in entries)
    if not masks:
        raise CannotBeMade(_unlabelled(whose))
    most = masks * bank.tokens_per_view
    memory = min(options.memory or most, most)
    _check_size(memory, bank.dim * bank.dtype.itemsize + 4 * len(known.classes))
    tokens, values, kept = [], [], []
    chosen = _chosen(bank, known, memory, job.seed)
    for part, labels in track(chosen, "memory", "image", total=len(bank)):
        tokens.append(part)
        values.append(labels)
        kept.append(len(part))
    if not sum(kept):
        raise CannotBeMade(_unlabelled(whose))
    LOG.info("a memory of %d patches of %d images (asked for: %s)", sum(kept), len(kept), options.memory or "all")
    record = {
        **job.record(bank.record, used),
        "patches": sum(kept),
        "notes": [_fewer(sum(kept), options.memory, masks)] if sum(kept) < options.memory else [],
    }
    tensors = {"tokens": torch.from_numpy(np.concatenate(tokens)), "shares": torch.from_numpy(np.concatenate(values))}
    save_checkpoint(job.files.checkpoint, tensors, record)
    rows = [f"{image},{count}" for image, count in zip(bank.images, kept, strict=True)]
    write_text(job.files.steps_csv, "\n".join(["image,patches", *rows]) + "\n")
    write_text(job.files.epochs_csv, f"patches\n{sum(kept)}\n")


def _fewer(kept: int, memory: int, images: int) -> str:
    held = f"the memory holds {kept:,} labelled patches of {images:,} images with a mask"
    return f"{held}, of {memory:,} that were asked for"


def _unlabelled(whose: str) -> str:
    return (
        f"no patch of {whose} has a label, and in-context k-NN looks labels up; label some of its images, or leave the "
        "row out."
    )


def _check_size(patches: int, each: int) -> None:
    """`CannotBeMade` where so many patches of `each` bytes do not fit twice, in parts and put together."""
    needed, there = 2 * patches * each, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise CannotBeMade(
            f"{patches:,} patches take {needed / 1e9:.1f} GB of memory while they are put together, and this machine "
            f"has {there / 1e9:.1f} GB; set the row's `memory` to {patches * there // needed:,} or less."
        )


def _chosen(
    bank: Bank, manifest: Manifest, memory: int, seed: int
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.float32]]]:
    """Tokens (m, D) and shares of classes (m, C) of the patches that are kept of each image, in the bank's order.

    Images with a mask share the memory; only tokens that are kept are read.
    """
    entries = {entry.id: entry for entry in manifest.entries(manifest.train_split)}
    classes = len(manifest.classes)
    order = generator("knn-images", seed).permutation(len(bank))
    masked = np.array([entries[image].mask is not None for image in bank.images])
    ranks = np.cumsum(masked) - 1
    counts = np.zeros(len(bank), np.int64)
    counts[masked] = shares(int(masked.sum()), memory, ranks[order[masked[order]]])
    for row, count in enumerate(counts.tolist()):
        image = bank.images[row]
        pixels = image_pixels(manifest, entries[image], bank.grid) if count else None
        if pixels is None:
            yield np.empty((0, bank.dim), bank.dtype), np.empty((0, classes), np.float32)
            continue
        flat = pixels.reshape(-1, classes)
        chosen = diverse(flat, count, generator("knn-patches", seed, image))
        held = flat[chosen].astype(np.float32)
        yield bank.tokens_at(row, chosen), held / np.maximum(held.sum(1, keepdims=True), 1)
