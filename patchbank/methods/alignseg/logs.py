"""What the training logs say of a step (`patchbank.methods.tools.logs`).

| column | unit |
|---|---|
| `step` | 0-based, over the whole run (`steps.csv` only) |
| `epoch` | 0-based |
| `lr` | learning rate of the step |
| `loss_patch`, `loss_query`, `loss` | the two losses and their sum |
| `used_segments` | mean number of distinct best queries in a global crop |
| `images_per_second` | images of the step / its wall time, reading included; on a GPU the mean of a fetch (`StepLog`) |
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from patchbank.errors import UserError

if TYPE_CHECKING:
    from patchbank.methods.tools.batches import Batch

COLUMNS = ("step", "epoch", "lr", "loss_patch", "loss_query", "loss", "used_segments", "images_per_second")


class StepLog:
    """Rows of the log, one a step in the order of `COLUMNS`.

    Values wait where they were computed and are fetched `every` steps together, because fetching waits for a GPU; the
    time between two fetches is shared equally by their steps.

    Args:
        rows: of the steps before.
        every: steps between two fetches.
        place: says where a batch is from, for the message about a loss that is not finite.
    """

    def __init__(self, rows: list[list[float]], every: int, place: Callable[[Batch], str]) -> None:
        self.rows, self._every, self._place = rows, every, place
        self._waiting: list[tuple[Batch, float, Tensor]] = []
        self._since = time.perf_counter()

    def add(self, batch: Batch, rate: float, values: Tensor) -> None:
        """Note a step.

        Args:
            batch: what it was made on.
            rate: its learning rate.
            values: (4,) patch loss, query loss, their sum, used segments; copied.
        """
        self._waiting.append((batch, rate, values.clone()))
        if len(self._waiting) == self._every:
            self.fetch()

    def fetch(self) -> None:
        """Turn what waits into rows.

        Raises:
            UserError: a loss is not finite; the first such step is named.
        """
        if not self._waiting:
            return
        fetched: list[list[float]] = torch.stack([values for *_, values in self._waiting]).tolist()
        now = time.perf_counter()
        seconds = (now - self._since) / len(fetched)
        for (batch, rate, _), values in zip(self._waiting, fetched, strict=True):
            number = len(self.rows)
            if not math.isfinite(values[2]):
                raise UserError(f"AlignSeg: the loss is {values[2]} at step {number}, {self._place(batch)}")
            self.rows.append([number, batch.epoch, rate, *values, len(batch.rows) / seconds])
        self._waiting, self._since = [], now
