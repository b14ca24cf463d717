"""Foreground and background of images, along the first principal direction of the set's tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.reader import Bank
from patchbank.bank.statistics import Statistics
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.seeds import generator

IMAGES = 2_000
"""The most images that sign and threshold are measured on, drawn at random; bounds time and memory."""
BINS = 256
"""Of the histogram in which a threshold is searched."""
_STORED = ("split_shift", "split_direction", "split_scale", "split_threshold")


@dataclass(frozen=True)
class Split:
    """How far each token lies in the foreground.

    Attributes:
        shift: (D,) float32, subtracted from tokens.
        direction: (D,) float32, from background to foreground.
        scale: deviation of the set's positions along it, by which they are divided.
        threshold: where the foreground begins, in these units; None for one of each image.
    """

    shift: NDArray[np.float32]
    direction: NDArray[np.float32]
    scale: float
    threshold: float | None

    def margins(self, tokens: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """How far each token (N, D) of one image lies above the threshold, (N,) float32; foreground is above 0."""
        positions = (tokens.astype(np.float32) - self.shift) @ self.direction / np.float32(self.scale)
        threshold = otsu(positions) if self.threshold is None else self.threshold
        margins: NDArray[np.float32] = (positions - threshold).astype(np.float32)
        return margins

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs, for storage."""
        threshold = np.nan if self.threshold is None else self.threshold
        values = (self.shift, self.direction, np.float64(self.scale), np.float64(threshold))
        return {name: np.asarray(value) for name, value in zip(_STORED, values, strict=True)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Split:
        """The inverse of `arrays`."""
        shift, direction, scale, threshold = (arrays[name] for name in _STORED)
        return cls(shift, direction, float(scale), None if np.isnan(threshold) else float(threshold))


def has_split(arrays: Mapping[str, Any]) -> bool:
    """Whether a split is among these arrays."""
    return set(_STORED) <= set(arrays)


def with_background(near: NDArray[np.float32], margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (n, 1 + K) with the background's as the first, 0; the highest of the others is the margin.

    Args:
        near: (n, K), or (1, K) where they are those of all; higher is nearer.
        margins: (n,), how far each lies in the foreground.
    """
    others = (near - near.max(1, keepdims=True)) + margins[:, None]
    return np.concatenate([np.zeros((len(margins), 1), np.float32), others], 1)


def fit_split(
    bank: Bank, tokens: NDArray[np.floating[Any]], statistics: Statistics | None, per_image: bool, seed: int
) -> Split:
    """The split along the first principal direction of a set's tokens.

    The sign of a principal direction is arbitrary: the foreground is the side on which patches at an image's border
    lie less far out than those inside, by their mean positions. Deep Spectral Methods
    (https://arxiv.org/abs/2205.07839) choose by the border too.

    Args:
        bank: of whole images of the split that is learned from.
        tokens: (n, D), a sample of them.
        statistics: moments of all of them; without, those of the sample.
        per_image: whether each image has a threshold of its own.
        seed: chooses the images where there are more than `IMAGES`.
    """
    axis = fit_projection(tokens, ProjectionSettings("mean", pca=1), statistics)
    chosen = np.sort(generator("foreground", seed).permutation(len(bank.images))[:IMAGES])
    border = border_of(bank.grid)
    positions = np.stack(
        [axis(bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim))[:, 0] for row in chosen.tolist()]
    )
    outside, inside = positions[:, border].mean(), positions[:, ~border].mean()
    sign = -1 if outside > inside else 1
    scale = float(positions.std())
    threshold = None if per_image else otsu(sign * positions.ravel() / np.float32(scale))
    return Split(axis.shift, sign * axis.matrix[:, 0], scale, threshold)


def border_of(grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Which patches (N,) of a grid (h, w) touch the image's border; a grid without an inside has its middle row in."""
    border = np.ones(grid, dtype=bool)
    if min(grid) > 2:
        border[1:-1, 1:-1] = False
    else:
        border[grid[0] // 2, grid[1] // 2] = False
    return border.ravel()


def otsu(values: NDArray[np.floating[Any]]) -> float:
    """The threshold that divides values into two groups of the largest variance between them.

    Otsu 1979, https://doi.org/10.1109/TSMC.1979.4310076, on a histogram of `BINS` bins; the upper edge of the lower
    group's last bin, the first on ties. Values that are all alike lie above it.
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low - 1.0
    counts, edges = np.histogram(values, BINS, (low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1]
    above = len(values) - below
    mass = np.cumsum(counts * centres)
    distance = mass[:-1] / np.maximum(below, 1) - (mass[-1] - mass[:-1]) / np.maximum(above, 1)
    return float(edges[1 + (below * above * distance**2).argmax()])
