"""Pixel-adaptive mask refinement: masks follow the colours of their image.

It replaces every pixel's masks, several times over, by the mean over its neighbours at some distances, weighted by how
alike they look: weights are a softmax of -|difference| / (0.1 local standard deviation), averaged over the colour
channels. It takes a fixed number of steps, so it cannot hang as iterative solvers may.

Source: Araslanov & Roth, Single-Stage Semantic Segmentation from Image Labels, https://arxiv.org/abs/2005.08104.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Rule = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[np.int64]]
"""Masks (K, H, W), sum 1, and pixels (H, W, 3) -> index (H, W) of the mask that wins."""
ITERATIONS = 10
DILATIONS = (1, 2, 4, 8)
CONTRAST = 0.1


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
