"""Which samples a training run reads, in which order, and how they reach the device.

Epoch e uses draw e % draws of every image in an order drawn from (seed, e); the last incomplete batch is dropped.
Inside a batch rows ascend, because a bank reads ascending rows fastest. On a GPU the whole bank moves into its memory
when it fits; else a thread reads the next batch while the current one is worked on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchbank.seeds import generator

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

LOG = logging.getLogger(__name__)
_FREE_SHARE = 0.7
"""Share of a GPU's free memory that a resident bank may take."""
_READ_ROWS = 64


@dataclass(frozen=True)
class Batch:
    """One step: `rows` (b,) ascending sample indices; `index` counts inside its epoch, `last` ends it."""

    epoch: int
    index: int
    last: bool
    rows: NDArray[np.int64]


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Complete batches of an epoch; a set smaller than one batch is one batch of all its images."""
    return max(1, images // batch_size)


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
    rows = order * draws + epoch % draws
    count = steps_per_epoch(images, batch_size)
    size = min(batch_size, images)
    return [Batch(epoch, i, i == count - 1, np.sort(rows[i * size : (i + 1) * size])) for i in range(count)]


def load_batches(bank: Bank, batches: Sequence[Batch], device: torch.device) -> Iterator[tuple[Batch, Tensor]]:
    """Every batch with its stored tokens, (b * V, N, D) in the bank's dtype, valid until the next one is asked for."""
    needed = np.unique(np.concatenate([batch.rows for batch in batches]))
    size = len(needed) * bank.views * bank.tokens_per_view * bank.dim * bank.dtype.itemsize
    if device.type == "cuda" and size < _FREE_SHARE * torch.cuda.mem_get_info(device)[0]:
        LOG.info("the bank (%.1f GB) stays in the memory of %s", size / 1e9, device)
        yield from _resident(bank, batches, needed, device)
    else:
        yield from _streamed(bank, batches, device)


def _resident(
    bank: Bank, batches: Sequence[Batch], needed: NDArray[np.int64], device: torch.device
) -> Iterator[tuple[Batch, Tensor]]:
    shape = (bank.views, bank.tokens_per_view, bank.dim)
    everything = torch.empty((len(needed), *shape), dtype=_torch_dtype(bank), device=device)
    for start in range(0, len(needed), _READ_ROWS):
        block = bank.read(needed[start : start + _READ_ROWS], ("tokens",))["tokens"]
        everything[start : start + len(block)] = torch.from_numpy(block).to(device)
    for batch in batches:
        places = torch.from_numpy(np.searchsorted(needed, batch.rows)).to(device)
        yield batch, everything[places].flatten(0, 1)


def _streamed(bank: Bank, batches: Sequence[Batch], device: torch.device) -> Iterator[tuple[Batch, Tensor]]:
    size = max(len(batch.rows) for batch in batches)
    shape = (size, bank.views, bank.tokens_per_view, bank.dim)
    buffers = [torch.empty(shape, dtype=_torch_dtype(bank), pin_memory=device.type == "cuda") for _ in range(2)]

    def fill(number: int) -> Tensor:
        rows = batches[number].rows
        part = buffers[number % 2][: len(rows)]
        bank.read(rows, ("tokens",), out={"tokens": part.numpy()})
        return part

    with ThreadPoolExecutor(1, "read-ahead") as reader:
        waiting = reader.submit(fill, 0)
        for number, batch in enumerate(batches):
            part = waiting.result()
            # the other buffer is free: whoever asked for this batch is done with the one before
            if number + 1 < len(batches):
                waiting = reader.submit(fill, number + 1)
            yield batch, part.flatten(0, 1)


def _torch_dtype(bank: Bank) -> torch.dtype:
    return torch.from_numpy(np.empty(0, bank.dtype)).dtype
