"""Crop geometry of AlignSeg's views.

Shapes the values of banks (`patchbank.bank.identity`).

Boxes are integer pixels (x0, y0, x1, y1), right and bottom exclusive. A crop is drawn as in torchvision's
`RandomResizedCrop`, whose rule AlignSeg uses: up to 10 tries of a uniform area and a log-uniform aspect ratio, else
the largest central crop with the ratio clamped.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

Box: TypeAlias = tuple[int, int, int, int]
RATIO = (3 / 4, 4 / 3)
TRIES = 10
MAX_REDRAWS = 100
"""How often a local crop is redrawn for its overlap with the global one (the published loop has no bound)."""
MIN_OVERLAP = 0.05


def random_box(rng: np.random.Generator, width: int, height: int, scale: tuple[float, float]) -> Box:
    """One random crop of an image.

    Args:
        rng: source of randomness.
        width, height: image size in pixels.
        scale: bounds of the crop's area as a share of the image's.

    Returns:
        The box in pixels.
    """
    for _ in range(TRIES):
        area = rng.uniform(*scale) * width * height
        ratio = math.exp(rng.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            y = int(rng.integers(0, height - h + 1))
            x = int(rng.integers(0, width - w + 1))
            return x, y, x + w, y + h
    ratio = width / height
    if ratio < RATIO[0]:
        w, h = width, round(width / RATIO[0])
    elif ratio > RATIO[1]:
        w, h = round(height * RATIO[1]), height
    else:
        w, h = width, height
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


def intersection(a: Box, b: Box) -> int:
    """Area in pixels that two boxes share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def local_box(rng: np.random.Generator, width: int, height: int, scale: tuple[float, float], anchor: Box) -> Box:
    """A local crop that shares more than floor(0.05 * W * H) pixels with the global one `anchor`.

    Redrawn up to `MAX_REDRAWS` times; then the last draw is moved onto the global crop's centre (kept inside the
    image). A local crop smaller than the required overlap can never meet it; the centred one is the best there is.
    """
    needed = math.floor(MIN_OVERLAP * width * height)
    box = anchor
    for _ in range(MAX_REDRAWS):
        box = random_box(rng, width, height, scale)
        if intersection(box, anchor) > needed:
            return box
    w, h = box[2] - box[0], box[3] - box[1]
    x = min(max(0, (anchor[0] + anchor[2] - w) // 2), width - w)
    y = min(max(0, (anchor[1] + anchor[3] - h) // 2), height - h)
    return x, y, x + w, y + h
