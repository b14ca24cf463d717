"""Sums over tokens, batch by batch: what a shard says of its tokens, and how the sums of several become moments."""

from __future__ import annotations

from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray

CANCELLED = 1e-6
"""E[x^2] - mean^2 is used while it is above this share of mean^2 and so keeps ten digits or more. Below it the squares
about the mean are, which lose none; above it the two agree, and runs keep the bits of banks without such squares."""


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
    def of(cls, tokens: NDArray[np.float64]) -> Sums:
        """Sums of tokens (n, D); deviations are counted from the first, so that those of a constant channel are 0."""
        moved = tokens - tokens[0]
        total = moved.sum(0)
        about_mean = np.maximum(np.einsum("nd,nd->d", moved, moved) - total**2 / len(tokens), 0.0)
        return cls(len(tokens), tokens.sum(0), np.einsum("nd,nd->d", tokens, tokens), about_mean)

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
