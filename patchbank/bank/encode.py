"""From images to their views, and from the views' pixels to the fields of rows.

Shapes the values of banks (`patchbank.bank.identity`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from patchbank.backbones.encoder import Encoded, Encoder
from patchbank.views.base import EncodingRecipe, RecipeProtocol
from patchbank.views.fields import Shapes, token_shapes
from patchbank.weights.spec import Read

Pictures: TypeAlias = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Pixels (..., draws, V, H, W, 3) from 0 to 255, boxes (..., draws, V, 4), flip (..., draws, V)."""


def row_shapes(vit: Encoder, recipe: RecipeProtocol, dtype: np.dtype[Any]) -> Shapes:
    """Shape and dtype of one row's fields (see `patchbank.bank.format`); `dtype` is that of features."""
    return recipe.shapes(vit, dtype) if isinstance(recipe, EncodingRecipe) else token_shapes(vit, recipe, dtype)


def image_views(recipe: RecipeProtocol, image: Image.Image, image_id: str) -> Pictures:
    """All draws of one image."""
    views = [recipe.make(image, image_id, draw) for draw in range(recipe.draws)]
    return (
        torch.from_numpy(np.stack([v.pixels for v in views])),
        torch.from_numpy(np.stack([v.boxes for v in views])),
        torch.from_numpy(np.stack([v.flip for v in views])),
    )


def encode_rows(vit: Encoder, recipe: RecipeProtocol, pictures: Pictures, batch_tokens: int) -> dict[str, torch.Tensor]:
    """All fields but `image` of the rows of some images, (images * draws, ...); see `encode`."""
    pixels, boxes, flip = pictures
    geometry = {"boxes": boxes.flatten(0, 1), "flip": flip.flatten(0, 1)}
    return {**geometry, **encode(vit, recipe, pixels, batch_tokens)}


def encode(vit: Encoder, recipe: RecipeProtocol, pixels: torch.Tensor, batch_tokens: int) -> dict[str, torch.Tensor]:
    """Encode the views of some images.

    Args:
        vit: the encoder.
        recipe: where the views come from; one that encodes by itself does.
        pixels: (images, draws, V, H, W, 3), 0 to 255.
        batch_tokens: patch tokens of one forward pass.

    Returns:
        Fields of the rows, (images * draws, V, ...), on the encoder's device, not always contiguous: `tokens`, `cls`,
        `cls_attention` in float32 (the first alone from an encoder without a class token), or the recipe's own.
    """
    if isinstance(recipe, EncodingRecipe):
        return recipe.encode(vit, pixels, batch_tokens)
    passes: list[Encoded] = [vit(vit.normalise(chunk)) for chunk in _chunks(vit, recipe, pixels, batch_tokens)]
    return _rows(passes, pixels)


def rows_at_blocks(
    vit: Encoder, recipe: RecipeProtocol, pictures: Pictures, batch_tokens: int
) -> dict[Read, dict[str, torch.Tensor]]:
    """What `encode_rows` returns wherever the encoder is read, in one pass of each view.

    The recipe must be one whose views are stored as tokens, not one that encodes by itself.
    """
    pixels, boxes, flip = pictures
    geometry = {"boxes": boxes.flatten(0, 1), "flip": flip.flatten(0, 1)}
    passes: dict[Read, list[Encoded]] = {}
    for chunk in _chunks(vit, recipe, pixels, batch_tokens):
        for read, encoded in vit.at_blocks(vit.normalise(chunk)).items():
            passes.setdefault(read, []).append(encoded)
    return {read: {**geometry, **_rows(found, pixels)} for read, found in passes.items()}


def _chunks(vit: Encoder, recipe: RecipeProtocol, pixels: torch.Tensor, batch_tokens: int) -> Iterator[torch.Tensor]:
    """Views (V, H, W, 3) of each forward pass."""
    h, w = vit.grid(*recipe.size)
    flat, size = pixels.reshape(-1, *pixels.shape[3:]), max(1, batch_tokens // (h * w))
    for start in range(0, len(flat), size):
        yield flat[start : start + size]


def _rows(passes: Sequence[Encoded], pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Fields (images * draws, V, ...) of passes over all views of some images."""
    images, draws, views = pixels.shape[:3]
    return {name: value.reshape(images * draws, views, *value.shape[1:]) for name, value in joined(passes).items()}


def joined(passes: Sequence[Encoded]) -> dict[str, torch.Tensor]:
    """What passes over some views say, (views, ...): `tokens`, and of a class token where there is one.

    What a single pass says is not copied: that takes longer than casting it.
    """
    fields = {}
    for name in ("tokens", "cls", "cls_attention"):
        parts = [value for encoded in passes if (value := getattr(encoded, name)) is not None]
        if parts:
            fields[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return fields
