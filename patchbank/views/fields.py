"""The datasets of a row. Shapes the values of banks (`patchbank.bank.identity`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from patchbank.backbones.vit import FrozenViT
    from patchbank.views.base import RecipeProtocol

Shapes: TypeAlias = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Per-row shape and dtype of every field but `image`, in the order in which a row's checksum reads them."""


def token_shapes(vit: FrozenViT, recipe: RecipeProtocol, dtype: np.dtype[Any]) -> Shapes:
    """Per-row shape and dtype of a recipe whose views are stored as tokens; `dtype` is that of features."""
    h, w = vit.grid(*recipe.size)
    return {
        "tokens": ((recipe.views, h * w, vit.dim), dtype),
        "cls": ((recipe.views, vit.dim), dtype),
        "cls_attention": ((recipe.views, vit.heads, h * w), dtype),
        "boxes": ((recipe.views, 4), np.dtype(np.float32)),
        "flip": ((recipe.views,), np.dtype(np.uint8)),
    }
