"""Recipe `augmented`: TransFGU's training views, one random crop of the squashed image a draw.

Shapes the values of banks (`patchbank.bank.identity`).

The image is squashed to the input size; in [0, 1] colour jitter (brightness, contrast, saturation U(.2, 1.8), hue
U(-.2, .2), in random order) with probability .3, grey .2, blur 3x3 with sigma U(1, 2) .2; then a crop of scale s in
{.4, ..., .9}, int(s * H) by int(s * W), is resized to half the input size (bilinear, not antialiased) and mirrored with
probability .5. `boxes` are pixels of the squashed input, right and bottom exclusive.

Draw d of an image depends only on (seed, image id, d), so that fewer draws are a prefix of more. The published code
draws the colours once a batch; a bank draws them for every image.

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional

from patchbank.backbones.sizes import round_to_patch
from patchbank.seeds import generator
from patchbank.views.base import Views
from patchbank.views.resize import NAMES, Rule, bilinear, input_size, squash

JITTER, GREY, BLUR, FLIP = 0.3, 0.2, 0.2, 0.5
"""Probabilities."""
FACTOR, HUE, SIGMA = (0.2, 1.8), (-0.2, 0.2), (1.0, 2.0)


class Recipe:
    """One crop per draw.

    Args:
        patch: the encoder's patch in pixels.
        size: input size, a side or [H, W], rounded to the patch; a crop is resized to half of it, rounded again.
        draws: samples per image.
        colour: whether colours change.
        seed: seed of the draws.
        resize: rule of the squash (`patchbank.views.resize`).
    """

    def __init__(
        self,
        patch: int,
        size: int | Sequence[int] = 320,
        draws: int = 2,
        colour: bool = True,
        seed: int = 0,
        resize: Rule = "torch",
    ) -> None:
        self.input = input_size(size, patch)
        height, width = (size, size) if isinstance(size, int) else size
        self.size = (round_to_patch(height // 2, patch), round_to_patch(width // 2, patch))
        self.draws, self.views, self.colour, self.seed, self.resize = draws, 1, colour, seed, resize

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {
            "name": "augmented",
            "size": list(self.size),
            "input": list(self.input),
            "resize": NAMES[self.resize],
            "draws": self.draws,
            "augment": "per_image" if self.colour else "none",
            "seed": self.seed,
        }

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """One crop."""
        rng = generator("augmented", self.seed, image_id, draw)
        pixels = squash(image, self.input, self.resize)
        if self.colour:
            pixels = _recolour(np.asarray(pixels, dtype=np.float32), rng)
        height, width = self.input
        scale = np.float32(rng.integers(4, 10) / 10)  # float32, as the published code multiplies
        h, w = int(np.float32(height) * scale), int(np.float32(width) * scale)
        y, x = int((height - h) * rng.random()), int((width - w) * rng.random())
        flip = bool(rng.random() < FLIP)
        crop = bilinear(pixels[y : y + h, x : x + w], self.size)
        return Views(
            pixels=np.ascontiguousarray(crop[:, ::-1] if flip else crop)[None],
            boxes=np.array([[x, y, x + w, y + h]], dtype=np.float32),
            flip=np.array([flip]),
        )


def _recolour(pixels: np.ndarray[Any, np.dtype[np.float32]], rng: np.random.Generator) -> Any:
    """(H, W, 3) float32, 0 to 255, with changed colours; every number is drawn whether it is used or not."""
    planes = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)
    chances, factors, order = rng.random(3), rng.uniform(*FACTOR, 3), rng.permutation(4)
    hue, sigma = float(rng.uniform(*HUE)), float(rng.uniform(*SIGMA))
    if chances[0] < JITTER:
        steps = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
        for index in order.tolist():
            planes = functional.adjust_hue(planes, hue) if index == 3 else steps[index](planes, float(factors[index]))
    if chances[1] < GREY:
        planes = functional.rgb_to_grayscale(planes, 3)
    if chances[2] < BLUR:
        planes = functional.gaussian_blur(planes, [3, 3], [sigma, sigma])
    return planes.permute(1, 2, 0).numpy() * np.float32(255)
