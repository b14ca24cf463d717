"""Recipe `dense`: as `whole`, on a patch grid that is `shift` times as dense a side.

Shapes the values of banks (`patchbank.bank.identity`).

The image is squashed `shift` x `shift` times, each time moved by a part of a patch, and tokens are interleaved. With
`shift: 2` and a patch of p pixels the views are moved by p/4 to the left or right and up or down, so by half a patch
against each other, and token (i, j) stands for the p/2 x p/2 pixels whose middle is the middle of its patch: those at
row i and column j of the finer grid, which covers the squashed image as the patches do. Beyond its borders, where views
look at most a quarter of a patch far, the image goes on as its mirror image. Moving and squashing are one resampling
(PIL's, bilinear and antialiased, with fractions of pixels).

Each view has the encoder's own grid and position embeddings. The class token is the mean of the views', and its
attention is interleaved as tokens are and divided by their number, so that a row of it is again a part of a row of sum
1. Costs `shift`^2 passes. Read in place of `whole` where `recipes.whole.shift` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from patchbank.backbones.encoder import Encoder
from patchbank.errors import UserError
from patchbank.views.base import Views
from patchbank.views.fields import Shapes, token_shapes
from patchbank.views.resize import NAMES, Rule, input_size


class Recipe:
    """One view of the whole image, read at several shifts.

    Args:
        patch: the encoder's patch in pixels.
        size: side of the squashed image in pixels, or [H, W]; rounded to the patch.
        shift: into how many parts a side of a patch is cut.
        resize: rule (`patchbank.views.resize`); `pil` alone moves by fractions of pixels.

    Raises:
        UserError: another rule.
    """

    batch_images = 1

    def __init__(self, patch: int, size: int | Sequence[int] = 448, shift: int = 2, resize: Rule = "pil") -> None:
        if resize != "pil":
            raise UserError(f"shift is {shift}, which needs resize: pil; received {resize!r}.")
        self.draws, self.views, self.size, self.shift = 1, 1, input_size(size, patch), shift
        self._moves = [(part - (shift - 1) / 2) * patch / shift for part in range(shift)]

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views."""
        return {"name": "dense", "size": list(self.size), "resize": NAMES["pil"], "shift": self.shift}

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The squashed image at every shift, row by row (shift * shift views); the one box is the whole image."""
        height, width = self.size
        across, down = image.width / width, image.height / height
        far = max(self._moves)
        margin = (int(np.ceil(far * down)), int(np.ceil(far * across)))
        padded = Image.fromarray(_mirrored(np.asarray(image), margin))
        pixels = []
        for y in self._moves:
            for x in self._moves:
                left, top = margin[1] + x * across, margin[0] + y * down
                box = (left, top, min(left + image.width, padded.width), min(top + image.height, padded.height))
                pixels.append(np.asarray(padded.resize((width, height), Image.Resampling.BILINEAR, box)))
        return Views(
            pixels=np.stack(pixels).astype(np.uint8, copy=False),
            boxes=np.array([[0, 0, image.width, image.height]], dtype=np.float32),
            flip=np.zeros(1, dtype=bool),
        )

    def shapes(self, vit: Encoder, dtype: np.dtype[Any]) -> Shapes:
        """Per-row shape and dtype, those of `whole` with shift^2 times the tokens."""
        shapes = token_shapes(vit, self, dtype)
        h, w = vit.grid(*self.size)
        count = h * w * self.shift**2
        shapes["tokens"] = ((1, count, vit.dim), dtype)
        if "cls_attention" in shapes:
            shapes["cls_attention"] = ((1, vit.heads, count), dtype)
        return shapes

    def encode(self, vit: Encoder, pixels: torch.Tensor, batch_tokens: int) -> dict[str, torch.Tensor]:
        """Fields of images (images, 1, shift^2, H, W, 3)."""
        grid, count = vit.grid(*self.size), self.shift**2
        chunks = torch.split(pixels.flatten(0, 2), max(1, batch_tokens // (grid[0] * grid[1])))
        passes = [vit(vit.normalise(chunk)) for chunk in chunks]
        fields = {"tokens": interleaved(_by_image([e.tokens for e in passes], count), grid, self.shift)[:, None]}
        cls = [encoded.cls for encoded in passes if encoded.cls is not None]
        attention = [encoded.cls_attention for encoded in passes if encoded.cls_attention is not None]
        if cls:
            fields["cls"] = _by_image(cls, count).mean(1)[:, None]
        if attention:
            shares = _by_image(attention, count).transpose(2, 3) / count
            fields["cls_attention"] = interleaved(shares, grid, self.shift).transpose(1, 2)[:, None]
        return fields


def interleaved(tokens: torch.Tensor, grid: tuple[int, int], shift: int) -> torch.Tensor:
    """One grid of the grids of all shifts.

    Args:
        tokens: (B, shift * shift, h * w, D), shifts row by row.
        grid: (h, w) of a view.
        shift: parts of a patch's side.

    Returns:
        (B, shift * h * shift * w, D), row by row.
    """
    h, w = grid
    parts = tokens.reshape(len(tokens), shift, shift, h, w, tokens.shape[-1])
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), shift * h * shift * w, tokens.shape[-1])


def _by_image(parts: Sequence[torch.Tensor], count: int) -> torch.Tensor:
    values = torch.cat(list(parts))
    return values.reshape(-1, count, *values.shape[1:])


def _mirrored(pixels: NDArray[np.uint8], margin: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) with so many more rows and columns on both sides, as the mirror image has them."""
    padded: NDArray[np.uint8] = np.pad(pixels, ((margin[0],) * 2, (margin[1],) * 2, (0, 0)), mode="symmetric")
    return padded
