"""What is done to tokens before they are compared: the train tokens' mean is subtracted, the deviation divided out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.statistics import Statistics
from patchbank.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Centre = Literal["none", "mean", "standardise"]
EPSILON = 1e-12
"""Lengths and deviations below it are taken for it in divisions."""
CONSTANT = 1e-4
"""A channel whose deviation is below this share of its mean (or of 1, for means below 1) says nothing: it is constant
but for rounding, and dividing by its deviation would make it the whole embedding."""


@dataclass(frozen=True)
class Centring:
    """(token - mean) / std, each part optional.

    Attributes:
        mean: (D,) float64 or None.
        std: (D,) float64 or None, 1 for constant channels.
    """

    mean: Tensor | None = None
    std: Tensor | None = None

    @classmethod
    def of(cls, statistics: Statistics | None, centre: str, dim: int | None = None) -> Centring:
        """The part of `statistics` that `centre` (a `Centre`) asks for; `dim` is the tokens' width where it is known.

        Raises:
            UserError: statistics are needed and missing, or belong to tokens of another width.
        """
        import torch

        parts = _parts(statistics, centre, dim)
        return cls(*(None if part is None else torch.from_numpy(part).double() for part in parts))

    def shift_and_scale(self, device: str | torch.device = "cpu") -> tuple[Tensor | None, Tensor | None]:
        """float32 (D,) vectors, (token - shift) * scale; None for what is not done."""
        import torch

        shift = None if self.mean is None else self.mean.float().to(device)
        if self.std is None:
            return shift, None
        # heads on disk may hold a deviation of 0
        return shift, torch.where(self.std > 0, self.std, 1.0).reciprocal().float().to(device)

    def to(self, device: str | torch.device) -> Centring:
        """The same on another device."""
        return Centring(*(None if part is None else part.to(device) for part in (self.mean, self.std)))

    def __call__(self, tokens: Tensor) -> Tensor:
        """Centre float32 tokens (..., D), which are on the same device."""
        shift, scale = self.shift_and_scale(tokens.device)
        tokens = tokens if shift is None else tokens - shift
        return tokens if scale is None else tokens * scale

    def in_place(self, tokens: Tensor) -> None:
        """The same, bit for bit, written over the tokens."""
        shift, scale = self.shift_and_scale(tokens.device)
        if shift is not None:
            tokens -= shift
        if scale is not None:
            tokens *= scale


def shift_and_scale(
    statistics: Statistics | None, centre: str, dim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `Centring.of` would do to tokens of width `dim`, as arrays: (token - shift) * scale.

    Returns:
        Shift and scale (D,) float64, zeros and ones for what is not done.
    """
    mean, std = _parts(statistics, centre, dim)
    return np.zeros(dim) if mean is None else mean, np.ones(dim) if std is None else 1 / std


def _parts(
    statistics: Statistics | None, centre: str, dim: int | None
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
    """Mean and deviation that `centre` asks for, 1 for constant channels."""
    if centre == "none":
        return None, None
    if statistics is None:
        raise UserError(f"centre is {centre!r}, which needs the statistics of the train bank.")
    if dim is not None and statistics.mean.shape != (dim,):
        raise UserError(f"The statistics have width {len(statistics.mean)}, the bank's tokens have {dim}.")
    if centre == "mean":
        return statistics.mean, None
    constant = statistics.std < CONSTANT * np.maximum(1.0, np.abs(statistics.mean))
    return statistics.mean, np.where(constant, 1.0, statistics.std)


def moments(features: NDArray[np.floating[Any]]) -> Statistics:
    """Mean and deviation of features (n, D) of their own."""
    return Statistics(features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64), len(features))
