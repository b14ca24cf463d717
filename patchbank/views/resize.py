"""Squashing an image to an input size, by the rules that published systems use.

Shapes the values of banks (`patchbank.bank.identity`).

| rule | pixels | who |
|---|---|---|
| `pil` | uint8, PIL bilinear (antialiased) | AlignSeg |
| `torch` | float32, torch bilinear, align_corners False, not antialiased | TransFGU |
| `nearest` | uint8, source index floor(i * in / out), as OpenCV's nearest | TransFGU's COCO windows and pseudo labels |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from patchbank.backbones.sizes import round_to_patch
from patchbank.errors import UserError

Rule: TypeAlias = Literal["pil", "torch", "nearest"]
NAMES = {"pil": "PIL bilinear", "torch": "torch bilinear", "nearest": "nearest"}
"""How a bank's record calls the rules."""


def input_size(size: int | Sequence[int], patch: int) -> tuple[int, int]:
    """(H, W) of a named size, one side or [H, W], each side rounded to the patch."""
    height, width = (size, size) if isinstance(size, int) else size
    return round_to_patch(height, patch), round_to_patch(width, patch)


def squash(image: Image.Image, size: tuple[int, int], rule: str) -> NDArray[Any]:
    """The image at (H, W).

    Returns:
        (H, W, 3), 0 to 255, uint8 or, for ``torch``, float32.

    Raises:
        UserError: an unknown rule.
    """
    height, width = size
    if rule == "pil":
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), dtype=np.uint8)
    pixels = np.asarray(image, dtype=np.uint8)
    if rule == "nearest":
        rows = np.arange(height) * image.height // height
        columns = np.arange(width) * image.width // width
        return pixels[rows[:, None], columns[None]]
    if rule == "torch":
        return bilinear(pixels, size)
    raise UserError(f"resize is {rule!r}; choose one of {', '.join(NAMES)}.")


def bilinear(pixels: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w, 3) of any dtype -> (H, W, 3) float32, torch bilinear without antialiasing."""
    planes = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).permute(2, 0, 1)[None]
    resized = interpolate(planes, size, mode="bilinear", align_corners=False)[0]
    result: NDArray[np.float32] = resized.permute(1, 2, 0).contiguous().numpy()
    return result
