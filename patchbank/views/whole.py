"""Recipe `whole`: the image squashed to one size by PIL bilinear (antialiased), one view, one draw."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from patchbank.backbones.sizes import round_to_patch
from patchbank.views.base import Views


class Recipe:
    """One view of the whole image.

    Args:
        patch: the encoder's patch in pixels.
        size: side of the squashed image in pixels, rounded to the patch.
    """

    def __init__(self, patch: int, size: int = 448) -> None:
        side = round_to_patch(size, patch)
        self.draws, self.views, self.size = 1, 1, (side, side)

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {"name": "whole", "size": list(self.size), "resize": "PIL bilinear"}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The squashed image; the box is the whole image."""
        squashed = image.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
        return Views(
            pixels=np.asarray(squashed, dtype=np.uint8)[None],
            boxes=np.array([[0, 0, image.width, image.height]], dtype=np.float32),
            flip=np.zeros(1, dtype=bool),
        )
