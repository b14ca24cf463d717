"""Colour augmentation of a finished view, as the published AlignSeg code defines it (and never switches on).

Shapes the values of banks (`patchbank.bank.identity`).

In this order: with probability 0.8 brightness, contrast and saturation are each scaled by U(0.2, 1.8) and the hue is
turned by U(-0.2, 0.2), the four in random order as in torchvision's `ColorJitter`; with probability 0.2 the view
becomes grey; with probability 0.5 it is blurred by PIL with sigma U(0.1, 2). All of it on uint8 RGB, after the crop.

Source: AlignSeg, "Rethinking Self-Supervised Semantic Segmentation: Achieving End-to-End Segmentation",
https://github.com/yliu1229/AlignSeg.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageFilter
from torchvision.transforms import functional

JITTER, HUE = 0.8, 0.2
P_JITTER, P_GREY, P_BLUR = 0.8, 0.2, 0.5
SIGMA = (0.1, 2.0)

Operation: TypeAlias = Callable[[Image.Image, float], Image.Image]
_JITTERS: tuple[tuple[Operation, float, float], ...] = (
    (functional.adjust_brightness, 1 - JITTER, 1 + JITTER),
    (functional.adjust_contrast, 1 - JITTER, 1 + JITTER),
    (functional.adjust_saturation, 1 - JITTER, 1 + JITTER),
    (functional.adjust_hue, -HUE, HUE),
)


def distort(view: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A view with other colours.

    Args:
        view: RGB picture.
        rng: source of randomness, one for each view.

    Returns:
        RGB picture of the same size.
    """
    if rng.random() < P_JITTER:
        factors = [rng.uniform(low, high) for _, low, high in _JITTERS]
        for index in rng.permutation(len(_JITTERS)):
            view = _JITTERS[index][0](view, factors[index])
    if rng.random() < P_GREY:
        view = view.convert("L").convert("RGB")
    if rng.random() < P_BLUR:
        view = view.filter(ImageFilter.GaussianBlur(rng.uniform(*SIGMA)))
    return view
