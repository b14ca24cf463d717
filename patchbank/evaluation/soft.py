"""Soft assignments of patches to segments, for variants that upsample them instead of the argmax."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.evaluation.preprocessing import frame


def soft_assignments(scores: NDArray[np.float32], every_id: bool = False) -> NDArray[np.float32]:
    """Softmax over K of scores (n, K, h, w); 0 for an id that has no patch of its image, unless `every_id`."""
    from scipy.special import softmax  # pictures, which need the ids of pixels alone, need no scipy

    soft: NDArray[np.float32] = softmax(scores, axis=1)
    if every_id:
        return soft
    has_patch = (scores.argmax(1)[:, None] == np.arange(scores.shape[1])[None, :, None, None]).any((2, 3))
    soft *= has_patch[:, :, None, None]
    return soft


def pixel_ids(
    scores: NDArray[np.float32],
    ids: NDArray[np.int64],
    size: tuple[int, int],
    upsample: Literal["nearest", "bilinear"],
) -> NDArray[np.int64]:
    """Ids (H, W) of every pixel of a picture, -1 where there is none.

    Args:
        scores: (Q, h, w), higher is better.
        ids: (Q,) id of each segment, -1 where it has none.
        size: (H, W) of the picture.
        upsample: ``bilinear`` interpolates the softmax and then takes the best segment, as the published system does
            for pictures; ``nearest`` repeats the best segment of each patch, as it does for scores.
    """
    grid: NDArray[Any] = scores.argmax(0)
    if upsample == "bilinear":
        # a segment without a patch has no dataset-wide id, and must not win between patches either
        nameless = (ids == -1) & (np.bincount(grid.ravel(), minlength=len(ids)) == 0)
        powers = np.exp(scores - scores.max(0))
        grid = np.where(nameless[:, None, None], np.float32(-1), powers / powers.sum(0))
    pixels: NDArray[np.int64] = ids[frame("full", size, size).segments(grid, upsample)]
    return pixels
