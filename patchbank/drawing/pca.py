"""PCA pictures: the first three principal directions of tokens as red, green and blue, one basis for many pictures.

The same colour then means the same in all of them. Directions are unique (largest entry positive), and black and white
are fixed shares of the tokens that the basis was fitted on, so that equal inputs give equal pictures in every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.clustering.projection import Projection, ProjectionSettings, fit_projection

CHANNELS = 3
PICTURES = 64
"""Pictures, spread evenly over a set, that a basis is fitted on."""
TOKENS = 1024
"""Tokens of a picture that a basis is fitted on, spread evenly."""
SHARES = (1.0, 99.0)
"""Percentiles of a channel that are black and full colour."""


@dataclass(frozen=True, eq=False)
class Basis:
    """What turns tokens into colours.

    Attributes:
        projection: tokens (n, D) -> (n, 3).
        low, high: (3,) float32, black and full colour of each channel.
    """

    projection: Projection
    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @property
    def dim(self) -> int:
        """Width D of the tokens."""
        return len(self.projection.shift)

    def colours(self, tokens: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """RGB (n, 3) of tokens (n, D)."""
        extent = np.where(self.high > self.low, self.high - self.low, np.float32(1))
        shares = np.clip((self.projection(tokens) - self.low) / extent, 0, 1)
        rounded: NDArray[np.uint8] = np.round(255 * shares).astype(np.uint8)
        return rounded

    def picture(
        self, tokens: NDArray[np.floating[Any]], grid: tuple[int, int], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Tokens (h * w, D) of one picture as RGB (H, W, 3), interpolated between the patches.

        Args:
            tokens: of the picture.
            grid: (h, w).
            size: (H, W) in pixels.
        """
        small = Image.fromarray(self.colours(tokens).reshape(*grid, CHANNELS))
        return np.asarray(small.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.uint8)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs, for storage."""
        return {**self.projection.arrays(), "low": self.low, "high": self.high}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Basis:
        """The inverse of `arrays`."""
        return cls(Projection.from_arrays(arrays), arrays["low"], arrays["high"])


def sampled(tokens: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """At most about `TOKENS` of the tokens (n, D) of a picture, spread evenly."""
    return tokens[:: max(1, len(tokens) // TOKENS)]


def fit_basis(parts: Sequence[NDArray[np.floating[Any]]]) -> Basis:
    """The basis of tokens (n, D) of some pictures; a channel that tokens do not have is black."""
    tokens = np.concatenate([part.astype(np.float32) for part in parts])
    fitted = fit_projection(tokens, ProjectionSettings("mean", pca=CHANNELS))
    missing = CHANNELS - fitted.matrix.shape[1]
    matrix = np.pad(fitted.matrix, ((0, 0), (0, missing)))
    projection = Projection(fitted.shift, matrix, normalise=False)
    low, high = np.percentile(projection(tokens), SHARES, axis=0).astype(np.float32)
    return Basis(projection, low, high)
