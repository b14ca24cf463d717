"""At which pixels prediction and labels are compared: the named preprocessing variants of a protocol.

| name | labels | predictions |
|---|---|---|
| `squash_448_100` | PIL nearest to 448x448, then torch nearest to 100x100 | grid to 100x100 |
| `squash_320` | torch nearest, short side 320, the proportion of the model's input | grid to that size |
| `short_320_center` | PIL nearest, short side 320, centre crop 320x320 | grid to the uncropped size, same crop |
| `full` | the raw mask | grid to the raw size |
| `full_boundary` | of `full`, the pixels near another label | grid to the raw size |
| `objects_256` | PIL nearest to 256x256 | softmax over segments on the grid, bilinear to 256x256, then argmax |

Sources: AlignSeg and Leopart (the first), TransFGU (the second), STEGO (the third), AlignSeg on MOVi (the last, used
by protocol `objects` alone): https://github.com/yliu1229/AlignSeg, https://github.com/damo-cv/TransFGU,
https://github.com/mhamilton723/STEGO. Predictions are those of the whole image squashed to the model's input size,
stored on its patch grid; `short_320_center` compares them inside STEGO's crop and does not run the model on the crop.
`full_boundary` is a trimap as in Kohli et al. 2009 (robust higher order potentials), as wide as in Boundary IoU (Cheng
et al. 2021): 2 % of the diagonal on either side.

Both nearest rules are separable, so a variant is one index vector a side and a mask is never resized twice.
PIL's rule samples pixel centres and accumulates its position in floating point: its indices are taken from PIL
itself. Torch's rule is floor(i * in / out) with the scale in float32; that is reproduced to the bit, because it
differs from the exact quotient for some sizes (84 -> 100, 168 -> 320).
Adding a variant: one function here and its name in `VARIANTS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.errors import UserError
from patchbank.evaluation.counts import Upsample

Index = NDArray[np.int64]
Size = tuple[int, int]

SOFT = ("objects_256",)
"""Variants that compare soft assignments: the softmax of the scores, bilinear whatever the method's own rule."""

BAND = 64
"""Rows that bilinear upsampling computes at a time, so that full-size masks need no (K, H, W) array."""


@dataclass(frozen=True, eq=False)
class Frame:
    """The compared pixels of one image.

    Args:
        rows: (h,) int64, row of the raw mask that each compared row reads.
        cols: (w,) int64, likewise for columns.
        size: (H, W) to which the prediction of the whole image is upsampled.
        corner: (y, x) of the compared window in that size.
        band: only class labels with another one within so many steps to one of 8 neighbours are compared; 0: all.
    """

    rows: Index
    cols: Index
    size: Size
    corner: Size = (0, 0)
    band: int = 0

    def labels(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Labels (h, w) of the compared pixels, of the dtype of the raw `mask` (H, W)."""
        sampled: NDArray[Any] = mask.take(self.rows, axis=0).take(self.cols, axis=1)
        return sampled

    def segments(self, grid: NDArray[Any], upsample: Upsample) -> NDArray[np.int64]:
        """Segment ids (h, w) int64 of the compared pixels.

        Args:
            grid: ids (gh, gw) for ``nearest``, scores (K, gh, gw) for ``bilinear`` (first segment on ties).
            upsample: the rule from the patch grid to pixels.

        Raises:
            ValueError: `grid` has not the number of axes that the rule needs.
        """
        if grid.ndim != {"nearest": 2, "bilinear": 3}[upsample]:
            raise ValueError(f"upsample={upsample!r} got a grid of shape {grid.shape}.")
        ys = slice(self.corner[0], self.corner[0] + len(self.rows))
        xs = slice(self.corner[1], self.corner[1] + len(self.cols))
        gh, gw = grid.shape[-2:]
        if upsample == "nearest":
            rows, cols = torch_nearest(gh, self.size[0])[ys], torch_nearest(gw, self.size[1])[xs]
            return grid[rows[:, None], cols[None, :]].astype(np.int64)
        low, high, down = (a[ys] for a in _lerp(gh, self.size[0]))
        first, last = int(low.min()), int(high.max())  # rows of the grid that are read, of a band few
        read = [low - first, high - first, down]
        return _bilinear_argmax(grid[:, first : last + 1], read, [a[xs] for a in _lerp(gw, self.size[1])])


@lru_cache(maxsize=4096)
def pil_nearest(source: int, target: int) -> Index:
    """Source index (target,) of each position when PIL resizes `source` pixels by NEAREST (pixel centres)."""
    line = Image.fromarray(np.arange(source, dtype=np.int32)[None])
    index: Index = np.asarray(line.resize((target, 1), Image.Resampling.NEAREST))[0].astype(np.int64)
    return index


@lru_cache(maxsize=4096)
def torch_nearest(source: int, target: int) -> Index:
    """Source index (target,) of torch's `interpolate(mode="nearest")`: floor(i * source / target) in float32."""
    index = (np.arange(target, dtype=np.float32) * np.float32(source / target)).astype(np.int64)
    return np.minimum(index, source - 1)


@lru_cache(maxsize=4096)
def _lerp(source: int, target: int) -> tuple[Index, Index, NDArray[np.float32]]:
    """Lower index, upper index and weight of the upper one (align_corners False), each (target,)."""
    centre = (np.arange(target, dtype=np.float32) + np.float32(0.5)) * np.float32(source / target) - np.float32(0.5)
    centre = np.maximum(centre, np.float32(0))
    low = np.minimum(centre.astype(np.int64), source - 1)
    return low, np.minimum(low + 1, source - 1), centre - low.astype(np.float32)


def _bilinear_argmax(scores: NDArray[Any], rows: list[Any], cols: list[Any]) -> NDArray[np.int64]:
    scores = scores.astype(np.float32, copy=False)
    left, right, across = cols
    wide = scores[:, :, left] * (1 - across) + scores[:, :, right] * across
    low, high, down = rows
    winners = np.empty((len(low), len(left)), np.int64)
    for start in range(0, len(low), BAND):
        band = slice(start, start + BAND)
        weight = down[band, None]
        winners[band] = (wide[:, low[band]] * (1 - weight) + wide[:, high[band]] * weight).argmax(0)
    return winners


def _squash_448_100(shape: Size, input_size: Size) -> Frame:
    step = torch_nearest(448, 100)
    return Frame(pil_nearest(shape[0], 448)[step], pil_nearest(shape[1], 448)[step], (100, 100))


def _squash_320(shape: Size, input_size: Size) -> Frame:
    # the input may be rounded to the patch (322) or scaled; labels keep the protocol's 320 in the same proportion
    short = min(input_size)
    size = (round(320 * input_size[0] / short), round(320 * input_size[1] / short))
    return Frame(torch_nearest(shape[0], size[0]), torch_nearest(shape[1], size[1]), size)


def _short_320_center(shape: Size, input_size: Size) -> Frame:
    short = min(shape)
    size = (320 * shape[0] // short, 320 * shape[1] // short)
    y, x = round((size[0] - 320) / 2), round((size[1] - 320) / 2)
    rows, cols = pil_nearest(shape[0], size[0])[y : y + 320], pil_nearest(shape[1], size[1])[x : x + 320]
    return Frame(rows, cols, size, (y, x))


def _full(shape: Size, input_size: Size) -> Frame:
    return Frame(np.arange(shape[0]), np.arange(shape[1]), shape)


def _full_boundary(shape: Size, input_size: Size) -> Frame:
    return replace(_full(shape, input_size), band=max(1, round(0.02 * math.hypot(*shape))))


def _objects_256(shape: Size, input_size: Size) -> Frame:
    return Frame(pil_nearest(shape[0], 256), pil_nearest(shape[1], 256), (256, 256))


VARIANTS: dict[str, Callable[[Size, Size], Frame]] = {
    "squash_448_100": _squash_448_100,
    "squash_320": _squash_320,
    "short_320_center": _short_320_center,
    "full": _full,
    "full_boundary": _full_boundary,
    "objects_256": _objects_256,
}


@lru_cache(maxsize=1024)
def frame(name: str, shape: Size, input_size: Size) -> Frame:
    """The compared pixels of an image.

    Args:
        name: a key of `VARIANTS`.
        shape: (H, W) of the raw mask.
        input_size: (H, W) to which the model's input was squashed (the prediction's record).

    Raises:
        UserError: unknown name.
    """
    if name not in VARIANTS:
        raise UserError(f"preprocessing is {name!r}; choose one of {', '.join(VARIANTS)}.")
    return VARIANTS[name](shape, input_size)
