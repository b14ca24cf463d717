"""What heads on single tokens train on: views of train images, each with its own number.

| views | bank | what a view is | views of an image |
|---|---|---|---|
| `five` | `five` | a square of half the image's shorter side, encoded by itself | 5 |
| `windows` | `whole` | half the grid of the whole image, in a corner or the centre, at no disk | 5 |
| `random` | `whole` | as `windows`, anywhere, drawn anew for every step | 1 |
| `whole` | `whole` | the whole image | 1 |
| `center320` | `center320` | the central square | 1 |

Those of `whole` and `center320` may be read from a bank of recipe `recoloured`, too, which has draws of them.
Tokens of a window have seen the whole image, those of `five` have not. View v of image i has number i * views + v.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank
from patchbank.progress import track
from patchbank.seeds import generator

Samples = NDArray[np.int64]


class TrainingViews:
    """Views of a bank's images.

    Args:
        bank: of the recipe that `view_names.training_recipe` names.
        kind: one of `view_names.VIEWS`.
        centring: what is done to tokens before anything else.

    Attributes:
        count: number of views.
        grid: (h, w) of a view.
        dim: width D of a token.
    """

    def __init__(self, bank: Bank, kind: str, centring: Centring) -> None:
        self.bank, self.kind, self._centring, self.dim = bank, kind, centring, bank.dim
        self.each = 5 if kind in ("five", "windows") else 1
        self.count = len(bank.images) * self.each
        h, w = self._full = bank.grid
        self.grid = (max(1, h // 2), max(1, w // 2)) if kind in ("windows", "random") else (h, w)
        down, right = h - self.grid[0], w - self.grid[1]
        self._free = (down, right)
        self._corners = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]

    def read(self, samples: Samples, rng: np.random.Generator | None = None, draws: Samples | None = None) -> Tensor:
        """Tokens (b, N, D) float32, centred, of views in the given order.

        Args:
            samples: (b,) numbers of views.
            rng: places the windows of ``random``.
            draws: (b,) which draw of its image each view is of; for banks with several.

        One view after the other, so that each is converted and centred while it lies in the processor's cache, into
        an array of numpy, whose pages are large ones.
        """
        tokens = torch.from_numpy(np.empty((len(samples), self.grid[0] * self.grid[1], self.dim), np.float32))
        for place in np.argsort(samples, kind="stable").tolist():  # ascending rows are read fastest
            image, view = divmod(int(samples[place]), self.each)
            row = image if draws is None else image * self.bank.draws + int(draws[place])
            tokens[place].copy_(torch.from_numpy(self._stored(row, view, rng)))
            self._centring.in_place(tokens[place])
        return tokens

    def _stored(self, row: int, view: int, rng: np.random.Generator | None) -> NDArray[Any]:
        """Tokens (N, D) of one view as the bank has them in one of its rows."""
        if self.kind == "five":
            n = self.bank.tokens_per_view  # those of other views are not read
            return self.bank.tokens_at(row, view * n + np.arange(n))
        whole: NDArray[Any] = self.bank.read(np.array([row]), ("tokens",))["tokens"][0, 0]
        if self.kind in ("center320", "whole"):
            return whole
        (h, w), (y, x) = self.grid, self._corners[view]
        if self.kind == "random" and rng is not None:
            y, x = int(rng.integers(self._free[0] + 1)), int(rng.integers(self._free[1] + 1))
        return whole.reshape(*self._full, self.dim)[y : y + h, x : x + w].reshape(h * w, self.dim)

    def _whole(self, images: Samples) -> Tensor:
        """Tokens (b, h * w, D) float32, centred, of whole images."""
        stored = self.bank.read(images, ("tokens",))["tokens"][:, 0]
        return self._centring(torch.from_numpy(stored).float())

    def cut(self, maps: NDArray[np.int16], samples: Samples) -> NDArray[np.int16]:
        """The part (b, h, w) that views see of maps (images, h, w) on the grid of ``windows`` or ``whole``."""
        image, view = np.divmod(samples, self.each)
        h, w = self.grid
        corners = [self._corners[v] for v in view.tolist()]
        return np.stack([maps[i, y : y + h, x : x + w] for i, (y, x) in zip(image.tolist(), corners, strict=True)])

    def means(self) -> NDArray[np.float32]:
        """Mean token of every view, of length 1, (count, D); of ``random`` that of whole images."""
        means = np.empty((self.count, self.dim), dtype=np.float32)
        for start in track(range(0, self.count, 5 * 16), "mean tokens", "block"):
            samples = np.arange(start, min(start + 5 * 16, self.count))
            mean = (self._whole(samples) if self.kind == "random" else self.read(samples)).mean(1)
            means[start : start + len(samples)] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return means


def sample_order(count: int, batch_size: int, seed: int, keep_last: bool) -> Iterator[tuple[int, Samples]]:
    """Epoch and samples (b,) of step 0, 1, 2, ..., without an end.

    Every epoch is the samples in an order drawn from (seed, epoch), cut into batches.

    Args:
        count: number of samples.
        batch_size: samples of a step; fewer samples than that are one batch of all of them.
        seed: of the run.
        keep_last: whether the last, incomplete batch of an epoch is used (where it has two samples or more).
    """
    size, epoch = min(batch_size, count), 0
    while True:
        order = generator("sample order", seed, epoch).permutation(count)
        for start in range(0, count, size):
            batch = order[start : start + size]
            if len(batch) == size or (keep_last and len(batch) > 1):
                yield epoch, batch
        epoch += 1


def steps_in_epoch(count: int, batch_size: int, keep_last: bool) -> int:
    """Steps of one epoch of `sample_order`."""
    size = min(batch_size, count)
    return count // size + int(keep_last and count % size > 1)
