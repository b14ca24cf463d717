"""Sums over tokens, batch by batch: what a shard says of its tokens, and how the sums of several become moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

CANCELLED = 1e-6
"""E[x^2] - mean^2 is used while it is above this share of mean^2 and so keeps ten digits or more. Below it the squares
about the mean are, which lose none; above it the two agree, and runs keep the bits of banks without such squares."""
DOUBTFUL = 1e-3
"""Below this share of mean^2 the deviations of a batch are added up by themselves; above it its sums tell them to 12
digits."""
PIECE = 32768
"""Values that torch converts in the thread that asks."""
BLOCK = 2 * PIECE
"""Values that are added at a time; they fit the cache."""


@dataclass(frozen=True)
class Sums:
    """What a shard holds of its tokens.

    Attributes:
        count: number of tokens n.
        total: (D,) float64, sum.
        square: (D,) float64, sum of squares.
        about_mean: (D,) float64, sum of squared deviations from the shard's own mean; None in older shards.
    """

    count: int
    total: NDArray[np.float64]
    square: NDArray[np.float64]
    about_mean: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, tokens: NDArray[Any]) -> Sums:
        """Sums of stored tokens (n, D).

        Values and squares are added in float64, in the order of the rows, a block that fits the cache at a time. Sums
        of tokens that are not finite are not finite.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            total, square = _sums(tokens)
            return cls(len(tokens), total, square, _about_mean(tokens, total, square))

    def __add__(self, other: Sums) -> Sums:
        """Both together; deviations after Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
        computing sample variances" (1979), https://doi.org/10.1007/978-3-642-51461-6_3."""
        count, total, square = self.count + other.count, self.total + other.total, self.square + other.square
        between = (self.total / self.count - other.total / other.count) ** 2 * (self.count * other.count / count)
        return Sums(count, total, square, self._about_mean() + other._about_mean() + between)

    def _about_mean(self) -> NDArray[np.float64]:
        if self.about_mean is not None:
            return self.about_mean
        return np.maximum(self.square - self.total**2 / self.count, 0.0)

    def store(self, shard: h5py.File) -> None:
        """Write to an open shard: `sum`, `square_sum`, `square_sum_about_mean`, attribute `count`."""
        shard.create_dataset("sum", data=self.total)
        shard.create_dataset("square_sum", data=self.square)
        shard.create_dataset("square_sum_about_mean", data=self._about_mean())
        shard.attrs["count"] = self.count

    @classmethod
    def load(cls, shard: h5py.File) -> Sums:
        """The inverse of `store`."""
        about_mean = np.asarray(shard["square_sum_about_mean"]) if "square_sum_about_mean" in shard else None
        return cls(int(shard.attrs["count"]), np.asarray(shard["sum"]), np.asarray(shard["square_sum"]), about_mean)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and population standard deviation, (D,)."""
        mean = self.total / self.count
        variance = self.square / self.count - mean**2
        cancelled = variance <= CANCELLED * mean**2
        return mean, np.sqrt(np.where(cancelled, self._about_mean() / self.count, np.maximum(variance, 0.0)))


def _sums(tokens: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and sum of squares (D,), each the bits of adding row after row; of width 1 numpy adds a block pairwise."""
    import torch  # converts float16 eight times as fast as numpy; what only reads sums does without

    count, dim = tokens.shape
    few, rows = max(1, PIECE // dim), max(1, BLOCK // dim)
    work, single = np.empty((1 + rows, dim)), torch.empty(rows, dim)
    total, square = np.zeros(dim), np.zeros(dim)
    for start in range(0, count, rows):
        part = tokens[start : start + rows]
        if part.dtype == np.float16:
            halves = torch.from_numpy(part)
            for first in range(0, len(part), few):
                single[first : first + few][: len(part) - first].copy_(halves[first : first + few])
            part = single[: len(part)].numpy()
        values = work[1 : 1 + len(part)]
        values[:] = part
        work[0] = total
        total = work[: 1 + len(part)].sum(0)
        np.multiply(values, values, out=values)
        work[0] = square
        square = work[: 1 + len(part)].sum(0)
    return total, square


def _about_mean(tokens: NDArray[Any], total: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared deviations from the mean; of channels that hardly vary counted from the first token, which loses none."""
    of_mean = total**2 / len(tokens)
    about_mean = np.maximum(square - of_mean, 0.0)
    doubtful = about_mean <= DOUBTFUL * of_mean
    if doubtful.any():
        moved = tokens[:, doubtful].astype(np.float64) - tokens[0, doubtful].astype(np.float64)
        squares = np.einsum("nd,nd->d", moved, moved)
        about_mean[doubtful] = np.maximum(squares - moved.sum(0) ** 2 / len(tokens), 0.0)
    return about_mean
