"""Soft assignments of patches to segments, for variants that upsample them instead of the argmax."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax


def soft_assignments(scores: NDArray[np.float32], every_id: bool = False) -> NDArray[np.float32]:
    """Softmax over K of scores (n, K, h, w); 0 for an id that has no patch of its image, unless `every_id`."""
    soft: NDArray[np.float32] = softmax(scores, axis=1)
    if every_id:
        return soft
    has_patch = (scores.argmax(1)[:, None] == np.arange(scores.shape[1])[None, :, None, None]).any((2, 3))
    soft *= has_patch[:, :, None, None]
    return soft
