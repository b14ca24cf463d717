"""Batches of a training run: how an epoch's samples are cut, and reading one while another is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """One step: `rows` (b,) ascending sample indices of a bank; `index` counts inside its epoch, `last` ends it."""

    epoch: int
    index: int
    last: bool
    rows: NDArray[np.int64]


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Complete batches of an epoch; fewer samples than one batch are one batch of all of them."""
    return max(1, samples // batch_size)


def cut(rows: NDArray[np.int64], batch_size: int, epoch: int) -> list[Batch]:
    """The batches of one epoch.

    Args:
        rows: (n,) sample indices in the order of the epoch; the last incomplete batch is dropped.
        batch_size: samples of a batch; inside one they ascend, because a bank reads ascending rows fastest.
        epoch: 0-based.
    """
    count, size = steps_per_epoch(len(rows), batch_size), min(batch_size, len(rows))
    return [Batch(epoch, i, i == count - 1, np.sort(rows[i * size : (i + 1) * size])) for i in range(count)]


def read_ahead(read: Callable[[int], T], count: int) -> Iterator[T]:
    """``read(0)`` to ``read(count - 1)``, each made in a thread while the one before is worked on.

    What was asked for is begun when its predecessor is handed over, so two results exist at a time.
    """
    with ThreadPoolExecutor(1, "read-ahead") as reader:
        waiting = [reader.submit(read, 0)] if count else []
        for number in range(count):
            value = waiting.pop().result()
            if number + 1 < count:
                waiting.append(reader.submit(read, number + 1))
            yield value
