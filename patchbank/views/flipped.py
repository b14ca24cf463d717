"""Recipe `flipped`: as `whole`, but every feature is the mean of those of the image and of its mirror image.

Shapes the values of banks (`patchbank.bank.identity`).

The mirror image's features are mirrored back first, so that each patch meets itself. Read in place of `whole` by rows
`<method>+flip`; its settings are those of `whole`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from patchbank.backbones.encoder import Encoder
from patchbank.views import whole
from patchbank.views.fields import Shapes, token_shapes


class Recipe(whole.Recipe):
    """One view of the whole image, encoded twice."""

    batch_images = 1

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {**super().record(), "name": "flipped"}

    def shapes(self, vit: Encoder, dtype: np.dtype[Any]) -> Shapes:
        """Per-row shape and dtype, those of `whole`."""
        return token_shapes(vit, self, dtype)

    def encode(self, vit: Encoder, pixels: torch.Tensor, batch_tokens: int) -> dict[str, torch.Tensor]:
        """Fields of images (images, 1, 1, H, W, 3)."""
        grid = vit.grid(*self.size)
        found: dict[str, list[torch.Tensor]] = {}
        for chunk in torch.split(pixels.flatten(0, 2), max(1, batch_tokens // (grid[0] * grid[1]))):
            plain, mirrored = (vit(vit.normalise(images)) for images in (chunk, chunk.flip(2)))
            found.setdefault("tokens", []).append((plain.tokens + _turn(mirrored.tokens, grid, 1)) / 2)
            if plain.cls is not None and mirrored.cls is not None:
                found.setdefault("cls", []).append((plain.cls + mirrored.cls) / 2)
            if plain.cls_attention is not None and mirrored.cls_attention is not None:
                turned = _turn(mirrored.cls_attention, grid, 2)
                found.setdefault("cls_attention", []).append((plain.cls_attention + turned) / 2)
        return {name: torch.cat(parts)[:, None] for name, parts in found.items()}


def _turn(values: torch.Tensor, grid: tuple[int, int], dim: int) -> torch.Tensor:
    """Mirror the patches, which stand along `dim`, from left to right."""
    shape = values.shape
    return values.reshape(*shape[:dim], *grid, *shape[dim + 1 :]).flip(dim + 1).reshape(shape)
