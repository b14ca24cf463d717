"""Which samples a training run reads, in which order, and how they reach the device.

Epoch e uses draw e % draws of every image in an order drawn from (seed, e); the last incomplete batch is dropped.
Inside a batch rows ascend, because a bank reads ascending rows fastest, and all batches of a run have one size. On a
GPU the whole bank moves into its memory when it fits, int8 tokens as they are stored; else a thread reads the next
batch while the current one is worked on.

What training sees of this is an iterator of `Loaded`: a batch, its tokens, its masks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchbank.memory import free_on
from patchbank.methods.alignseg.feature_crops import FeatureCrops
from patchbank.methods.tools.batches import Batch, cut, read_ahead
from patchbank.progress import track
from patchbank.seeds import generator

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank
    from patchbank.methods.alignseg.foreground import ForegroundMasks

LOG = logging.getLogger(__name__)
_FREE_SHARE = 0.7
"""Share of a GPU's free memory that a resident bank may take."""
_READ_ROWS = 64


def plan_epoch(images: int, draws: int, batch_size: int, seed: int, epoch: int) -> list[Batch]:
    """The batches of one epoch.

    Args:
        images: number of images.
        draws: draws of each image in the bank.
        batch_size: images of a batch.
        seed: of the run.
        epoch: 0-based.
    """
    order = generator("order", seed, epoch).permutation(images)
    return cut(order * draws + epoch % draws, batch_size, epoch)


Loaded = tuple[Batch, Tensor, Tensor]
"""A batch; its tokens (b * V, N, D) in the bank's dtype; its masks (b, V, N), float32 or bool, 1 = foreground.

Tensors are on the device of the run and valid until the next batch is asked for."""


def load_batches(
    bank: Bank, batches: Sequence[Batch], masks: ForegroundMasks | None, device: torch.device
) -> Iterator[Loaded]:
    """Every batch with its tokens and masks.

    Args:
        bank: open `multicrop` bank, or `FeatureCrops`.
        batches: what to load, in this order; all of one size.
        masks: foreground of the bank's samples; None counts every patch.
        device: where tensors have to be.
    """
    samples = np.unique(np.concatenate([batch.rows for batch in batches]))
    stored, rows = _stored(bank, samples)
    size = len(rows) * stored.views * stored.tokens_per_view * stored.dim * _resident_dtype(stored).itemsize
    size += len(samples) * bank.views * bank.tokens_per_view if masks else 0
    if device.type == "cuda" and size < _FREE_SHARE * free_on(device):
        LOG.info("the bank (%.1f GB) stays in the memory of %s", size / 1e9, device)
        yield from _resident(bank, batches, masks, device)
    else:
        yield from _streamed(bank, batches, masks, device)


def _stored(bank: Bank, samples: NDArray[np.int64]) -> tuple[Bank, NDArray[np.int64]]:
    """The bank whose rows make `samples` (s,), and which rows, ascending: of crops of tokens those of whole images."""
    return (bank.whole, np.unique(samples // bank.draws)) if isinstance(bank, FeatureCrops) else (bank, samples)


def _resident(
    bank: Bank, batches: Sequence[Batch], masks: ForegroundMasks | None, device: torch.device
) -> Iterator[Loaded]:
    """Everything is on the device before the first step; a batch is two gathers there and never waits for the host.

    Crops of whole-image tokens are cut there, too.
    """
    rows = np.stack([batch.rows for batch in batches])
    samples = np.unique(rows)
    stored, kept = _stored(bank, samples)
    tokens, foreground = _on_device(stored, kept, device), _masks_on_device(bank, samples, masks, device)
    crops = bank if isinstance(bank, FeatureCrops) else None
    read = rows if crops is None else rows // crops.draws
    places = [torch.from_numpy(np.searchsorted(*pair)).to(device) for pair in ((kept, read), (samples, rows))]
    boxes = None if crops is None else torch.stack([crops.boxes_of(part) for part in rows]).to(device)
    for number, (batch, place, mask) in enumerate(zip(batches, *places, strict=True)):
        part = tokens.index_select(0, place).flatten(0, 1)
        part = part if stored.coding is None else stored.coding.decode(part)
        part = part if crops is None or boxes is None else crops.cut(part, boxes[number])
        yield batch, part, foreground.index_select(0, mask)


def _on_device(bank: Bank, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """Tokens (rows, V, N, D) as they are stored."""
    shape = (bank.views, bank.tokens_per_view, bank.dim)
    tokens = torch.empty((len(rows), *shape), dtype=_resident_dtype(bank), device=device)
    for start in track(range(0, len(rows), _READ_ROWS), f"bank to {device}", unit="block"):
        part = rows[start : start + _READ_ROWS]
        read = torch.empty((len(part), *shape), dtype=tokens.dtype)
        bank.read(part, ("tokens",), out={"tokens": read.numpy()})
        tokens[start : start + len(part)] = read.to(device)
    return tokens


def _masks_on_device(
    bank: Bank, samples: NDArray[np.int64], masks: ForegroundMasks | None, device: torch.device
) -> Tensor:
    """Masks (s, V, N) bool of `samples` (s,); without any, all true in the memory of one."""
    if masks is None:
        return torch.ones((1, bank.views, bank.tokens_per_view), dtype=torch.bool, device=device).expand(
            len(samples), -1, -1
        )
    foreground = torch.empty((len(samples), bank.views, bank.tokens_per_view), dtype=torch.bool, device=device)
    for start in range(0, len(samples), _READ_ROWS):
        part = samples[start : start + _READ_ROWS]
        foreground[start : start + len(part)] = torch.from_numpy(masks(part)).to(device, torch.bool)
    return foreground


def _streamed(
    bank: Bank, batches: Sequence[Batch], masks: ForegroundMasks | None, device: torch.device
) -> Iterator[Loaded]:
    shape = (len(batches[0].rows), bank.views, bank.tokens_per_view)
    pinned = device.type == "cuda"
    buffers = [torch.empty((*shape, bank.dim), dtype=_torch_dtype(bank), pin_memory=pinned) for _ in range(2)]
    everywhere = torch.ones(shape, device=device)

    def fill(number: int) -> Tensor:
        part = buffers[number % 2]
        bank.read(batches[number].rows, ("tokens",), out={"tokens": part.numpy()})
        return part

    # a buffer is free for the batch after the next as soon as that is asked for: its own batch is then done with
    for batch, part in zip(batches, read_ahead(fill, len(batches)), strict=True):
        # on a GPU this waits for the copy
        tokens = part.to(device).flatten(0, 1)
        yield batch, tokens, torch.from_numpy(masks(batch.rows)).to(device) if masks else everywhere


def _resident_dtype(bank: Bank) -> torch.dtype:
    """Of tokens that stay on a device: codes are a quarter of what is decoded."""
    return _torch_dtype(bank) if bank.coding is None else torch.int8


def _torch_dtype(bank: Bank) -> torch.dtype:
    return torch.from_numpy(np.empty(0, bank.dtype)).dtype
