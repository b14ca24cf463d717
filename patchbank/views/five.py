"""Recipe `five`: five square views of an image, one in each corner and one in the middle, of half its shorter side.

Shapes the values of banks (`patchbank.bank.identity`).

Each view lies in the centre of a crop of half the image's height and width; the crops stand in the corners (top left,
top right, bottom left, bottom right) and in the centre. No flip, no colour, no draw: what STEGO, SmooSeg and CAUSE use.
They write the crops as JPEG files and resize by nearest neighbour; here nothing is encoded again, and `resize` says
how pixels are made.

Source: STEGO, `crop_datasets.py`, https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from patchbank.views.base import Views
from patchbank.views.resize import NAMES, Rule, input_size, squash


class Recipe:
    """Five views, one draw.

    Args:
        patch: the encoder's patch in pixels.
        size: side of a view in pixels, rounded to the patch.
        resize: rule (`patchbank.views.resize`); ``nearest`` is the nearest to what is published.
    """

    def __init__(self, patch: int, size: int = 224, resize: Rule = "pil") -> None:
        self.draws, self.views, self.size, self.resize = 1, 5, input_size(size, patch), resize

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {"name": "five", "size": list(self.size), "resize": NAMES[self.resize]}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The views in the order top left, top right, bottom left, bottom right, centre."""
        boxes = five_boxes(image.width, image.height)
        return Views(
            pixels=np.stack([squash(image.crop(box), self.size, self.resize) for box in boxes]),
            boxes=np.array(boxes, dtype=np.float32),
            flip=np.zeros(self.views, dtype=bool),
        )


def five_boxes(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Boxes of an image of `width` x `height` pixels: squares inside the half-size crops."""
    w, h = max(1, width // 2), max(1, height // 2)
    side = min(w, h)
    x, y = round((width - w) / 2), round((height - h) / 2)
    corners = [(0, 0), (width - w, 0), (0, height - h), (width - w, height - h), (x, y)]
    inside = [(left + (w - side) // 2, top + (h - side) // 2) for left, top in corners]
    return [(left, top, left + side, top + side) for left, top in inside]
