"""The datasets of a row. Shapes the values of banks (`patchbank.bank.identity`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from patchbank.backbones.encoder import Encoder
    from patchbank.views.base import RecipeProtocol

Shapes: TypeAlias = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Per-row shape and dtype of every field but `image`, in the order in which a row's checksum reads them."""


def token_shapes(vit: Encoder, recipe: RecipeProtocol, dtype: np.dtype[Any]) -> Shapes:
    """Per-row shape and dtype of a recipe whose views are stored as tokens; `dtype` is that of features.

    An encoder without a class token has neither `cls` nor `cls_attention`.
    """
    h, w = vit.grid(*recipe.size)
    of_class: Shapes = {
        "cls": ((recipe.views, vit.dim), dtype),
        "cls_attention": ((recipe.views, vit.heads, h * w), dtype),
    }
    return {
        "tokens": ((recipe.views, h * w, vit.dim), dtype),
        **(of_class if vit.class_token else {}),
        "boxes": ((recipe.views, 4), np.dtype(np.float32)),
        "flip": ((recipe.views,), np.dtype(np.uint8)),
    }
