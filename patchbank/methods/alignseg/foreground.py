"""Foreground of a crop from the class token's attention.

Per crop: mean over heads -> Gaussian blur (7x7, sigma 0.6, edges mirrored) -> the largest values that together hold
60 % of the map's mass -> connected components (8 neighbours) of at most 2 patches removed.

Inputs: `cls_attention` (crops, heads, N) of the bank. Outputs: bool (crops, N). `ForegroundMasks` holds the masks of
a whole training bank, one bit a patch, computed once before the first step.

Source: AlignSeg, "Rethinking Self-Supervised Semantic Segmentation: Achieving End-to-End Segmentation",
https://github.com/yliu1229/AlignSeg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from patchbank.progress import track

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

MASS = 0.6
SIGMA = 0.6
RADIUS = 3
SMALLEST = 3
"""Patches of the smallest component that stays."""
_BLOCK = 256
_IN_PLANE = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


def foreground_masks(attention: NDArray[np.floating[Any]], grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Foreground of many crops.

    Args:
        attention: (crops, heads, N), softmax attention of the class token to the patches.
        grid: (h, w) with h * w == N.

    Returns:
        (crops, N) bool, True where the patch is foreground.
    """
    maps = np.asarray(attention, dtype=np.float64).mean(1).reshape(-1, *grid)
    kept = _heaviest(_blur(maps))
    return _without_specks(kept).reshape(len(maps), -1)


def _blur(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    offsets = np.arange(-RADIUS, RADIUS + 1)
    kernel = np.exp(-0.5 * (offsets / SIGMA) ** 2)
    kernel /= kernel.sum()
    rows = ndimage.correlate1d(maps, kernel, axis=1, mode="mirror")
    blurred: NDArray[np.float64] = ndimage.correlate1d(rows, kernel, axis=2, mode="mirror")
    return blurred


def _heaviest(maps: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The largest values of each map (S, h, w), as many as hold `MASS` of its sum."""
    flat = maps.reshape(len(maps), -1)
    order = np.argsort(flat, axis=1, kind="stable")
    ascending = np.take_along_axis(flat, order, axis=1)
    reached = np.cumsum(ascending / ascending.sum(1, keepdims=True), axis=1) > 1 - MASS
    kept = np.empty(flat.shape, dtype=bool)
    np.put_along_axis(kept, order, reached, axis=1)
    return kept.reshape(maps.shape)


def _without_specks(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(kept, structure=_IN_PLANE)
    large = np.bincount(labels.ravel()) >= SMALLEST
    large[0] = False
    result: NDArray[np.bool_] = large[labels]
    return result


class ForegroundMasks:
    """Masks of the samples of a bank that training reads, one bit a patch.

    Args:
        bank: a `multicrop` bank with `cls_attention`.
        draws: how many draws of each image are needed.
    """

    def __init__(self, bank: Bank, draws: int) -> None:
        images = len(bank.images)
        self._bank_draws, self._patches = bank.draws, bank.tokens_per_view
        rows = np.arange(images * bank.draws).reshape(images, bank.draws)[:, :draws].ravel()
        self._place = np.full(images * bank.draws, -1)
        self._place[rows] = np.arange(len(rows))
        self._bits = np.empty((len(rows), bank.views, -(-self._patches // 8)), dtype=np.uint8)
        starts = range(0, len(rows), _BLOCK)
        for start in track(starts, "foreground masks", unit="block"):
            block = rows[start : start + _BLOCK]
            attention = bank.read(block, ("cls_attention",))["cls_attention"]
            masks = foreground_masks(attention.reshape(-1, *attention.shape[2:]), bank.grid)
            self._bits[start : start + len(block)] = np.packbits(masks, axis=-1).reshape(len(block), bank.views, -1)

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Masks (b, V, N) of samples `rows`, 1 for foreground, else 0."""
        bits = self._bits[self._place[rows]]
        return np.unpackbits(bits, axis=-1, count=self._patches).astype(np.float32)
