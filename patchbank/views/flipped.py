"""Recipe `flipped`: as `whole`, but every feature is the mean of those of the image and of its mirror image.

The mirror image's features are mirrored back first, so that each patch meets itself. Read in place of `whole` by rows
`<method>+flip`; its settings are those of `whole`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from patchbank.backbones.vit import FrozenViT
from patchbank.views import whole
from patchbank.views.base import Shapes, Views
from patchbank.views.resize import Rule


class Recipe:
    """One view of the whole image, encoded twice.

    Args:
        patch: the encoder's patch in pixels.
        size: side of the squashed image in pixels, or [H, W]; rounded to the patch.
        resize: rule (`patchbank.views.resize`).
    """

    batch_images = 1

    def __init__(self, patch: int, size: int | Sequence[int] = 448, resize: Rule = "pil") -> None:
        self._whole = whole.Recipe(patch, size, resize)
        self.draws, self.views, self.size = 1, 1, self._whole.size

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {**self._whole.record(), "name": "flipped"}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The squashed image; the box is the whole image."""
        return self._whole.make(image, image_id, draw)

    def shapes(self, vit: FrozenViT, dtype: np.dtype[Any]) -> Shapes:
        """Per-row shape and dtype, those of `whole`."""
        h, w = vit.grid(*self.size)
        return {
            "tokens": ((1, h * w, vit.dim), dtype),
            "cls": ((1, vit.dim), dtype),
            "cls_attention": ((1, vit.heads, h * w), dtype),
            "boxes": ((1, 4), np.dtype(np.float32)),
            "flip": ((1,), np.dtype(np.uint8)),
        }

    def encode(self, vit: FrozenViT, pixels: torch.Tensor, batch_tokens: int) -> dict[str, NDArray[Any]]:
        """Fields of images (images, 1, 1, H, W, 3)."""
        grid = vit.grid(*self.size)
        found: dict[str, list[torch.Tensor]] = {"tokens": [], "cls": [], "cls_attention": []}
        for chunk in torch.split(pixels.flatten(0, 2), max(1, batch_tokens // (grid[0] * grid[1]))):
            plain, mirrored = (vit(vit.normalise(images)) for images in (chunk, chunk.flip(2)))
            found["tokens"].append((plain.tokens + _turn(mirrored.tokens, grid, 1)) / 2)
            found["cls"].append((plain.cls + mirrored.cls) / 2)
            found["cls_attention"].append((plain.cls_attention + _turn(mirrored.cls_attention, grid, 2)) / 2)
        return {name: torch.cat(parts)[:, None].cpu().numpy() for name, parts in found.items()}


def _turn(values: torch.Tensor, grid: tuple[int, int], dim: int) -> torch.Tensor:
    """Mirror the patches, which stand along `dim`, from left to right."""
    shape = values.shape
    return values.reshape(*shape[:dim], *grid, *shape[dim + 1 :]).flip(dim + 1).reshape(shape)
