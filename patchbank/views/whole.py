"""Recipe `whole`: the image squashed to one size, one view, one draw; by default by PIL bilinear (antialiased).

Shapes the values of banks (`patchbank.bank.identity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from patchbank.views.base import Views
from patchbank.views.resize import NAMES, Rule, input_size, squash


class Recipe:
    """One view of the whole image.

    Args:
        patch: the encoder's patch in pixels.
        size: side of the squashed image in pixels, or [H, W]; rounded to the patch.
        resize: rule (`patchbank.views.resize`).
    """

    def __init__(self, patch: int, size: int | Sequence[int] = 448, resize: Rule = "pil") -> None:
        self.draws, self.views, self.size, self.resize = 1, 1, input_size(size, patch), resize

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {"name": "whole", "size": list(self.size), "resize": NAMES[self.resize]}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The squashed image; the box is the whole image."""
        return Views(
            pixels=squash(image, self.size, self.resize)[None],
            boxes=np.array([[0, 0, image.width, image.height]], dtype=np.float32),
            flip=np.zeros(1, dtype=bool),
        )
