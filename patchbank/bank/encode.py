"""From the pixels of some images' views to the fields of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from patchbank.backbones.vit import Encoded, FrozenViT
from patchbank.views.base import EncodingRecipe, RecipeProtocol, Shapes, token_shapes


def row_shapes(vit: FrozenViT, recipe: RecipeProtocol, dtype: np.dtype[Any]) -> Shapes:
    """Shape and dtype of one row's fields (see `patchbank.bank.format`); `dtype` is that of features."""
    return recipe.shapes(vit, dtype) if isinstance(recipe, EncodingRecipe) else token_shapes(vit, recipe, dtype)


def encode(vit: FrozenViT, recipe: RecipeProtocol, pixels: torch.Tensor, batch_tokens: int) -> dict[str, NDArray[Any]]:
    """Encode the views of some images.

    Args:
        vit: the encoder.
        recipe: where the views come from; one that encodes by itself does.
        pixels: (images, draws, V, H, W, 3), 0 to 255.
        batch_tokens: patch tokens of one forward pass.

    Returns:
        Fields of the rows, (images * draws, V, ...): `tokens`, `cls`, `cls_attention` in float32, or the recipe's own.
    """
    if isinstance(recipe, EncodingRecipe):
        return recipe.encode(vit, pixels, batch_tokens)
    h, w = vit.grid(*recipe.size)
    views_per_pass = max(1, batch_tokens // (h * w))
    images, draws, views = pixels.shape[:3]
    flat = pixels.reshape(-1, *pixels.shape[3:])
    passes: list[Encoded] = [vit(vit.normalise(chunk)) for chunk in _chunks(flat, views_per_pass)]
    fields = {
        "tokens": torch.cat([p.tokens for p in passes]),
        "cls": torch.cat([p.cls for p in passes]),
        "cls_attention": torch.cat([p.cls_attention for p in passes]),
    }
    return {
        name: value.reshape(images * draws, views, *value.shape[1:]).cpu().numpy() for name, value in fields.items()
    }


def _chunks(flat: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    for start in range(0, len(flat), size):
        yield flat[start : start + size]
