"""Post-processing of predictions, each a named option with rows of its own (`<method>+<option>`), never silent.

| option | what it does |
|---|---|
| `bilinear` | softmax of the scores on the grid, upsampled bilinearly, then the argmax (instead of the method's rule) |
| `pamr` | pixel-adaptive mask refinement: one mask an id, upsampled, follows the colours of the image |
| `crf` | dense CRF of the same masks at the input size, by an optional library (`patchbank.evaluation.crf`) |

`pamr` replaces every pixel's masks, several times over, by the mean over its neighbours at some distances, weighted by
how alike they look: weights are a softmax of -|difference| / (0.1 local standard deviation), averaged over the colour
channels. It takes a fixed number of steps, so it cannot hang as iterative solvers may.

An id that no patch has gets no pixel, so that segments without an embedding stay without pixels.
Source: Araslanov & Roth, Single-Stage Semantic Segmentation from Image Labels, https://arxiv.org/abs/2005.08104.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from patchbank.left_out import CannotBeMade

Rule = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[np.int64]]
"""Masks (K, H, W), sum 1, and pixels (H, W, 3) -> index (H, W) of the mask that wins."""
ITERATIONS = 10
DILATIONS = (1, 2, 4, 8)
CONTRAST = 0.1
MOST = 2**26
"""Pixels of one image that are refined at most; the weights of their neighbours alone take 8 GB."""


def pamr(image: Tensor, masks: Tensor, iterations: int = ITERATIONS, dilations: Sequence[int] = DILATIONS) -> Tensor:
    """Refine masks by the colours of the image.

    Args:
        image: (3, H, W) float.
        masks: (K, H, W) float.
        iterations: steps.
        dilations: distances of the 8 neighbours; 8 for each. Beyond the border the nearest pixel stands in.

    Returns:
        (K, H, W) float; their sum over K stays what it is where it is the same everywhere.
    """
    weights = _affinity(image, dilations)
    for _ in range(iterations):
        refined = torch.zeros_like(masks)
        for weight, moved in zip(weights, _neighbours(masks, dilations), strict=True):
            refined += weight * moved
        masks = refined
    return masks


def refined_ids(grid: NDArray[Any], image: Image.Image, size: tuple[int, int], rule: Rule) -> NDArray[np.int64]:
    """Ids of an image's pixels, refined from those of its patches.

    Args:
        grid: (h, w) ids; any number of clusters, of which only those of this image cost time.
        image: RGB, of any size.
        size: (H, W) of the pixels.
        rule: `pamr_winners`, or `patchbank.evaluation.crf.DenseCRF`.

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


def pamr_winners(masks: NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Index (H, W) of the mask that wins after `pamr`, of masks (K, H, W) and pixels (H, W, 3)."""
    colours = torch.from_numpy(pixels.astype(np.float32) / 255).movedim(-1, 0)
    return pamr(colours, torch.from_numpy(masks)).argmax(0).numpy()


def _affinity(image: Tensor, dilations: Sequence[int]) -> Tensor:
    """Weights (8 x dilations, H, W) of every pixel's neighbours, sum 1; one neighbour at a time saves memory."""
    around, centre = list(_neighbours(image, dilations)), len(dilations)  # the centre counts once for each distance
    count = len(around) + centre
    mean = image * (centre / count)
    for moved in around:
        mean += moved / count
    squares = centre * (image - mean) ** 2
    for moved in around:
        squares += (moved - mean) ** 2
    scale = CONTRAST * (squares / (count - 1)).sqrt() + 1e-8
    return torch.stack([-((moved - image).abs() / scale).mean(0) for moved in around]).softmax(0)


def _neighbours(values: Tensor, dilations: Sequence[int]) -> Iterator[Tensor]:
    """`values` (C, H, W) moved by each neighbour's offset, the same order in every call."""
    height, width = values.shape[-2:]
    for d in dilations:
        padded = functional.pad(values[None], (d, d, d, d), mode="replicate")[0]
        for dy in (0, d, 2 * d):
            for dx in (0, d, 2 * d):
                if (dy, dx) != (d, d):
                    yield padded[:, dy : dy + height, dx : dx + width]
