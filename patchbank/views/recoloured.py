"""Recipe `recoloured`: what `whole` or `center320` is, in other colours: the view of PriMaPs' student.

Shapes the values of banks (`patchbank.bank.identity`).

Every draw is blurred by a Gaussian of 21x21 pixels, sigma U(.1, 2). With probability .5 its colours may change: then,
with probability .3, brightness, contrast and saturation U(.9, 1.1) and hue U(-.1, .1) do, in random order. In the other
half it becomes grey with probability .1. Places stay, so that patches are those of the plain view. All of it in
[0, 1]; the published code changes colours of normalised pixels, which torchvision cuts to [0, 1].

Draw d of an image depends only on (seed, image id, d), so that fewer draws are a prefix of more.

Source: PriMaPs-EM (TMLR 2024), https://arxiv.org/abs/2404.16818.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

from patchbank.seeds import generator
from patchbank.views.base import Views
from patchbank.views.plain import plain_views
from patchbank.views.resize import Rule

KERNEL, SIGMA = 21, (0.1, 2.0)
JITTERED, JITTER, GREY = 0.5, 0.3, 0.1
"""Probabilities: that colours may change, that they then do, that the view becomes grey where they may not."""
FACTOR, HUE = (0.9, 1.1), (-0.1, 0.1)


class Recipe:
    """One view a draw.

    Args:
        patch: the encoder's patch in pixels.
        of: recipe whose view changes its colours, ``whole`` or ``center320``.
        size: of that recipe.
        draws: samples per image.
        seed: seed of the draws.
        resize: rule of that recipe (`patchbank.views.resize`).
    """

    def __init__(
        self,
        patch: int,
        of: str = "whole",
        size: int | Sequence[int] = 448,
        draws: int = 4,
        seed: int = 0,
        resize: Rule = "pil",
    ) -> None:
        self._plain = plain_views("recoloured", patch, of, size, resize)
        self.draws, self.views, self.size, self.seed = draws, 1, self._plain.size, seed

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        plain = self._plain.record()
        return {**plain, "name": "recoloured", "of": plain["name"], "draws": self.draws, "seed": self.seed}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The view of the other recipe with other colours."""
        plain = self._plain.make(image, image_id, 0)
        rng = generator("recoloured", self.seed, image_id, draw)
        return replace(plain, pixels=recoloured(plain.pixels[0].astype(np.float32), rng)[None])


def recoloured(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(H, W, 3) float32, 0 to 255, in other colours; every number is drawn whether it is used or not."""
    planes = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)
    sigma, chances = float(rng.uniform(*SIGMA)), rng.random(2)
    factors, hue, order = rng.uniform(*FACTOR, 3).tolist(), float(rng.uniform(*HUE)), rng.permutation(4).tolist()
    planes = _blurred(planes, sigma)
    if chances[0] < JITTERED:
        if chances[1] < JITTER:
            steps = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
            for index in order:
                planes = functional.adjust_hue(planes, hue) if index == 3 else steps[index](planes, factors[index])
    elif chances[1] < GREY:
        planes = functional.rgb_to_grayscale(planes, 3)
    changed: NDArray[np.float32] = planes.permute(1, 2, 0).numpy() * np.float32(255)
    return changed


def _blurred(planes: Tensor, sigma: float) -> Tensor:
    """Planes (3, H, W) under the kernel; of views that it does not fit into under the largest that does."""
    side = min(KERNEL, 2 * min(planes.shape[1:]) - 1)
    blurred: Tensor = functional.gaussian_blur(planes, [side, side], [sigma, sigma])
    return blurred
