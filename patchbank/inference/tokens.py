"""From pictures to tokens on one patch grid: squashed whole, or through a sliding window at their own resolution.

Tokens pass through float16 as they do in a bank, so that a picture gets the segments that the pipeline stores for it.

Through a window the encoder sees the picture piece by piece, the method sees it once: tokens of all windows are
gathered on one grid, averaged where windows overlap, and the method runs on the whole grid. A method's segment ids mean
something inside one run only (AlignSeg's queries look at all tokens that they are given), so a run for every window
would give each window ids of its own, with seams between them.

Memory: one grid of tokens (2 D bytes a patch), sums of a row of windows and their pixels, whatever the picture's size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from math import isqrt
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from patchbank.backbones.encoder import Encoder
from patchbank.backbones.sizes import round_to_patch
from patchbank.backbones.tail import ClassTail
from patchbank.datasets.raster import Raster
from patchbank.datasets.unusable import Unusable
from patchbank.methods.shape import Seen
from patchbank.views import dense, lastblock
from patchbank.views.whole import Recipe

BATCH_TOKENS = 8192
"""Patch tokens of one forward pass on a GPU. A CPU gains nothing from batches: it gets one view at a time, so that a
picture's bits do not depend on its neighbours."""

MOST = 1 << 30
"""Numbers in the tokens of one picture (2 GiB): the method sees all of them at once."""

Grid = tuple[int, int]
Size = int | tuple[int, int]
"""Side in pixels of the square that a picture is squashed to, or (H, W)."""


def views_per_pass(vit: Encoder, size: Size) -> int:
    """Views of that many pixels (of an integer: squares) in one forward pass."""
    height, width = (size, size) if isinstance(size, int) else size
    return 1 if vit.device.type == "cpu" else max(1, BATCH_TOKENS // ((height // vit.patch) * (width // vit.patch)))


def squashed(image: Image.Image | Raster, patch: int, size: Size, shift: int = 1) -> NDArray[Any]:
    """A whole picture of any size, squashed as recipe `whole` does it, or `dense` at every shift.

    Args:
        image: RGB; a raster is resized as a picture is.
        patch: side of the encoder's patch in pixels.
        size: in pixels, rounded to the patch.
        shift: how many times as dense a side the grid is.

    Returns:
        (shift * shift, H, W, 3) uint8.
    """
    recipe = Recipe(patch, size) if shift == 1 else dense.Recipe(patch, size, shift)
    pixels: NDArray[Any] = recipe.make(cast(Image.Image, image), "", 0).pixels
    return pixels


def whole_tokens(vit: Encoder, pixels: Sequence[NDArray[Any]]) -> tuple[Tensor, Grid]:
    """Tokens of whole pictures.

    Args:
        vit: the encoder.
        pixels: what `squashed` made of each, all of one size and shift.

    Returns:
        (B, N, D) float16 on the encoder's device, and the grid (h, w) with h * w == N.
    """
    stacked = torch.from_numpy(np.stack(pixels))
    shifts, height, width = stacked.shape[1:4]
    h, w = vit.grid(height, width)
    chunks = torch.split(stacked.flatten(0, 1), len(pixels))  # as many views a pass as without shifts
    tokens = torch.cat([vit(vit.normalise(chunk)).tokens for chunk in chunks]).to(torch.float16)
    if shifts == 1:
        return tokens, (h, w)
    shift = isqrt(shifts)
    by_picture = tokens.reshape(len(pixels), shifts, h * w, vit.dim)
    return dense.interleaved(by_picture, (h, w), shift), (shift * h, shift * w)


def block_of(vit: Encoder, image: Image.Image, size: Size, tail: ClassTail, name: str) -> Seen:
    """What the read block says of a picture, squashed as recipe `lastblock` does it.

    Args:
        vit: the encoder, with a class token.
        image: RGB picture.
        size: in pixels, rounded to the patch.
        tail: of the encoder.
        name: content id, or what stands for one.
    """
    recipe = lastblock.Recipe(vit.patch, size)
    encoded, block = vit.read_block(vit.normalise(torch.from_numpy(recipe.make(image, "", 0).pixels)))
    grid = vit.grid(*recipe.size)
    return Seen(name, grid, encoded.tokens[0].to(torch.float16), block, encoded.cls_attention, tail)


def picture_id(image: Image.Image) -> str:
    """16 hexadecimal digits of a picture's pixels, which stand for the content id that it has in no set."""
    said = f"{image.mode} {image.size}".encode() + image.tobytes()
    return hashlib.sha256(said).hexdigest()[:16]


def windowed_tokens(vit: Encoder, image: Image.Image | Raster, window: int, scale: float = 1.0) -> tuple[Tensor, Grid]:
    """Tokens of one picture at its own resolution (each side rounded to the patch), through half-overlapping windows.

    Args:
        vit: the encoder.
        image: RGB picture, or a raster, of which the rows of one row of windows are in memory at a time.
        window: side of a window in pixels, rounded to the patch; a smaller picture is one smaller window.
        scale: of the picture's sides, before windows are cut.

    Returns:
        (1, N, D) float16 on the encoder's device, and the grid (h, w) with h * w == N.

    Raises:
        Unusable: a picture of too many patches, or a raster that is damaged.
    """
    patch = vit.patch
    width, height = scaled_size(image.size, patch, scale)
    grid = h, w = vit.grid(height, width)
    side = round_to_patch(window, patch) // patch
    high, wide = min(side, h), min(side, w)
    if h * w * vit.dim > MOST:
        share = int(100 * scale * (MOST / (h * w * vit.dim)) ** 0.5) / 100
        raise Unusable(f"has {w}x{h} patches, too many at once; --scale {share:.2f} makes it fit")
    tokens = torch.empty((h, w, vit.dim), dtype=torch.float16, device=vit.device)
    # sums of the rows that windows to come may still cover
    total = torch.zeros((high, w, vit.dim), device=vit.device)
    seen = torch.zeros((high, w, 1), device=vit.device)
    count, rows = views_per_pass(vit, side * patch), _rows(image, (width, height))
    starts = window_starts(h, high)
    for y, following in zip(starts, [*starts[1:], h], strict=True):
        pixels = torch.from_numpy(rows(y * patch, (y + high) * patch))
        columns = window_starts(w, wide)
        for first in range(0, len(columns), count):
            chunk = columns[first : first + count]
            cut = [pixels[:, x * patch : (x + wide) * patch] for x in chunk]
            encoded = vit(vit.normalise(torch.stack(cut))).tokens.view(len(chunk), high, wide, vit.dim)
            for x, part in zip(chunk, encoded, strict=True):
                total[:, x : x + wide] += part
                seen[:, x : x + wide] += 1
        done = following - y
        tokens[y:following] = (total[:done] / seen[:done]).to(torch.float16)
        total, seen = (torch.cat([one[done:], torch.zeros_like(one[:done])]) for one in (total, seen))
    return tokens.view(1, h * w, vit.dim), grid


def scaled_size(size: tuple[int, int], patch: int, scale: float = 1.0) -> tuple[int, int]:
    """Width and height of a picture before windows are cut, whole patches."""
    width, height = (round_to_patch(max(1, round(side * scale)), patch) for side in size)
    return width, height


def _rows(image: Image.Image | Raster, size: tuple[int, int]) -> Callable[[int, int], NDArray[np.uint8]]:
    """Rows of a picture at a size (width, height), as a function of the first and the one behind the last."""
    if isinstance(image, Raster):
        return lambda top, stop: np.array(image.resized(size, top, stop))
    pixels = np.array(image if image.size == size else image.resize(size, Image.Resampling.BILINEAR))
    return lambda top, stop: pixels[top:stop]


def window_starts(length: int, window: int) -> list[int]:
    """First patches of windows that cover `length` patches, half a window apart; the last one ends with the picture."""
    last = length - window
    return [*range(0, last, max(1, window // 2)), last]
