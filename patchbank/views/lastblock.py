"""Recipe `lastblock`: what the class token's gradients need of the read block, one squashed view of an image.

Shapes the values of banks (`patchbank.bank.identity`).

| dataset | shape of a row | dtype | meaning |
|---|---|---|---|
| `cls_attention` | (1, heads, N) | as the bank | class-token row of the block's attention, patch columns |
| `last_values` | (1, N, D) | as the bank | the block's values of the patches, heads side by side |
| `last_mixed` | (1, D) | float32 | the class token's attention output before the projection |
| `last_residual` | (1, D) | float32 | the class token that enters the block |

The values and not the block's input: both take N * D numbers, but the values are what the closed form multiplies with,
while the input would cost two projections of every token again. Beside the shards
lies `tail.safetensors`, the class token's way through the block (`patchbank.backbones.tail`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from patchbank.backbones.encoder import Encoder
from patchbank.backbones.tail import save_tail
from patchbank.views.base import Views
from patchbank.views.fields import Shapes
from patchbank.views.resize import NAMES, Rule, input_size, squash


class Recipe:
    """One view of the whole image, read for gradients.

    Args:
        patch: the encoder's patch in pixels.
        size: side of the squashed image in pixels, or [H, W]; rounded to the patch.
        resize: rule (`patchbank.views.resize`).
    """

    batch_images = 1

    def __init__(self, patch: int, size: int | Sequence[int] = 320, resize: Rule = "torch") -> None:
        self.draws, self.views, self.size, self.resize = 1, 1, input_size(size, patch), resize

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        fields = ["cls_attention", "last_values", "last_mixed", "last_residual", "boxes", "flip", "image"]
        return {"name": "lastblock", "size": list(self.size), "resize": NAMES[self.resize], "fields": fields}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The squashed image; the box is the whole image."""
        return Views(
            pixels=squash(image, self.size, self.resize)[None],
            boxes=np.array([[0, 0, image.width, image.height]], dtype=np.float32),
            flip=np.zeros(1, dtype=bool),
        )

    def shapes(self, vit: Encoder, dtype: np.dtype[Any]) -> Shapes:
        """Per-row shape and dtype."""
        h, w = vit.grid(*self.size)
        exact = np.dtype(np.float32)
        return {
            "cls_attention": ((1, vit.heads, h * w), dtype),
            "last_values": ((1, h * w, vit.dim), dtype),
            "last_mixed": ((1, vit.dim), exact),
            "last_residual": ((1, vit.dim), exact),
            "boxes": ((1, 4), exact),
            "flip": ((1,), np.dtype(np.uint8)),
        }

    def beside(self, folder: Path, vit: Encoder, content: str) -> None:
        """Write the rest of the class token's way through the block."""
        save_tail(folder, vit, content)

    def encode(self, vit: Encoder, pixels: torch.Tensor, batch_tokens: int) -> dict[str, torch.Tensor]:
        """Fields of images (images, 1, 1, H, W, 3)."""
        flat = pixels.flatten(0, 2)
        h, w = vit.grid(*self.size)
        chunks = torch.split(flat, max(1, batch_tokens // (h * w)))
        passes, blocks = zip(*(vit.read_block(vit.normalise(chunk)) for chunk in chunks), strict=True)
        fields = {
            "cls_attention": torch.cat([e.cls_attention for e in passes if e.cls_attention is not None]),
            "last_values": torch.cat([block.values for block in blocks]),
            "last_mixed": torch.cat([block.mixed for block in blocks]),
            "last_residual": torch.cat([block.residual for block in blocks]),
        }
        return {name: value[:, None] for name, value in fields.items()}
