"""Recipe `center320`: the central square of an image, of its shorter side, at 320 pixels.

Shapes the values of banks (`patchbank.bank.identity`).

The image's shorter side is resized to `size` and its centre cut out: what PriMaPs trains on (PIL bilinear). Here the
square is cut first and then resized, which differs at its border only.

Source: PriMaPs-EM (TMLR 2024), https://arxiv.org/abs/2404.16818.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from patchbank.views.base import Views
from patchbank.views.resize import NAMES, Rule, input_size, squash


class Recipe:
    """One view, one draw.

    Args:
        patch: the encoder's patch in pixels.
        size: side of the view in pixels, rounded to the patch.
        resize: rule (`patchbank.views.resize`).
    """

    def __init__(self, patch: int, size: int = 320, resize: Rule = "pil") -> None:
        self.draws, self.views, self.size, self.resize = 1, 1, input_size(size, patch), resize

    def record(self) -> dict[str, Any]:
        """Everything that shapes the view."""
        return {"name": "center320", "size": list(self.size), "resize": NAMES[self.resize]}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The central square."""
        side = min(image.size)
        x, y = round((image.width - side) / 2), round((image.height - side) / 2)
        box = (x, y, x + side, y + side)
        return Views(
            pixels=squash(image.crop(box), self.size, self.resize)[None],
            boxes=np.array([box], dtype=np.float32),
            flip=np.zeros(1, dtype=bool),
        )
