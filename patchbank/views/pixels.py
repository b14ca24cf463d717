"""Recipe `pixels`: the pixels themselves of what `whole` or `center320` is, for what has to follow their edges.

Shapes the values of banks (`patchbank.bank.identity`).

| dataset | shape of a row | dtype | meaning |
|---|---|---|---|
| `pixels` | (1, H, W, 3) | uint8 | RGB of the view, as the encoder is given it, before it is normalised |

No pass of the encoder. What a rule of the resize makes in floating numbers is rounded to the nearest whole one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from patchbank.backbones.encoder import Encoder
from patchbank.views.base import Views
from patchbank.views.fields import Shapes
from patchbank.views.plain import plain_views
from patchbank.views.resize import Rule


class Recipe:
    """One view, one draw.

    Args:
        patch: the encoder's patch in pixels.
        of: recipe whose view it is, ``whole`` or ``center320``.
        size: of that recipe.
        resize: rule of that recipe (`patchbank.views.resize`).
    """

    batch_images = 1

    def __init__(self, patch: int, of: str = "whole", size: int | Sequence[int] = 448, resize: Rule = "pil") -> None:
        self._plain = plain_views("pixels", patch, of, size, resize)
        self.draws, self.views, self.size = 1, 1, self._plain.size

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        plain = self._plain.record()
        return {**plain, "name": "pixels", "of": plain["name"], "fields": ["pixels", "boxes", "flip", "image"]}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The view of the other recipe, in 8 bits."""
        plain = self._plain.make(image, image_id, draw)
        return replace(plain, pixels=np.round(plain.pixels).astype(np.uint8))

    def shapes(self, vit: Encoder, dtype: np.dtype[Any]) -> Shapes:
        """Per-row shape and dtype."""
        eight = np.dtype(np.uint8)
        return {
            "pixels": ((1, *self.size, 3), eight),
            "boxes": ((1, 4), np.dtype(np.float32)),
            "flip": ((1,), eight),
        }

    def encode(self, vit: Encoder, pixels: torch.Tensor, batch_tokens: int) -> dict[str, torch.Tensor]:
        """Pixels of images (images, 1, 1, H, W, 3) as they are."""
        return {"pixels": pixels.flatten(0, 1)}
