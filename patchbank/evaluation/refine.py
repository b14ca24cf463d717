"""Predictions that follow the pixels of their image, options `pamr` and `crf` of `postprocessing`.

One mask an id, upsampled bilinearly, and a rule of `patchbank.refinement` that says which wins at each pixel. An id
that no patch has gets no pixel, so that segments without an embedding stay without pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from patchbank.left_out import CannotBeMade
from patchbank.refinement.pamr import Rule

MOST = 2**26
"""Pixels of one image that are refined at most; the weights of their neighbours alone take 8 GB."""


def refined_ids(grid: NDArray[Any], image: Image.Image, size: tuple[int, int], rule: Rule) -> NDArray[np.int64]:
    """Ids of an image's pixels, refined from those of its patches.

    Args:
        grid: (h, w) ids; any number of clusters, of which only those of this image cost time.
        image: RGB, of any size.
        size: (H, W) of the pixels.
        rule: of `patchbank.refinement`.

    Returns:
        (H, W), the lowest id on ties.

    Raises:
        CannotBeMade: an image of more than `MOST` pixels.
    """
    if size[0] * size[1] > MOST:
        raise CannotBeMade(
            f"an image would be refined at {size[1]}x{size[0]} pixels, and {MOST} of them are the most; compare at a "
            "smaller size (`preprocessing`, `score_at`), or leave the option out of `postprocess`."
        )
    ids, inverse = np.unique(grid, return_inverse=True)
    hot = torch.from_numpy(np.eye(len(ids), dtype=np.float32)[inverse.reshape(grid.shape)]).movedim(-1, 0)
    masks = functional.interpolate(hot[None], size, mode="bilinear", align_corners=False)[0]
    pixels = np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    winners: NDArray[np.int64] = ids[rule(masks.numpy(), pixels)].astype(np.int64)
    return winners
