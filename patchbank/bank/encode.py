"""From the pixels of some images' views to the fields of their rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from numpy.typing import NDArray

from patchbank.backbones.vit import Encoded, FrozenViT


def encode(vit: FrozenViT, pixels: torch.Tensor, views_per_pass: int) -> dict[str, NDArray[Any]]:
    """Encode the views of some images.

    Args:
        vit: the encoder.
        pixels: (images, draws, V, H, W, 3) uint8.
        views_per_pass: views of one forward pass.

    Returns:
        `tokens`, `cls` and `cls_attention`, each (images * draws, V, ...) float32.
    """
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
