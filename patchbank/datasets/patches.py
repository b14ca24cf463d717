"""Labels on the patch grid: the pixels of each class in every patch, and the class that most of them have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.images import load_labels
from patchbank.datasets.manifest import Entry, Manifest

IGNORE = 255
NONE = -1


def patch_pixels(mask: NDArray[np.integer[Any]], grid: tuple[int, int], classes: int) -> NDArray[np.int64]:
    """Labelled pixels of each class in every patch of an image that is squashed onto a grid.

    Args:
        mask: (H, W) class ids, 255 is ignored.
        grid: (h, w) of the patch grid; pixel row y lies in patch row floor(y h / H).
        classes: number of classes C.

    Returns:
        (h, w, C) numbers of pixels.

    Example:
        >>> patch_pixels(np.array([[1, 1, 0], [1, 0, 255]]), (1, 1), 2).tolist()
        [[[2, 3]]]
    """
    rows, cols = (np.arange(size) * cells // size for size, cells in zip(mask.shape, grid, strict=True))
    patch = (rows[:, None] * grid[1] + cols[None, :]).ravel()
    truth = mask.ravel().astype(np.int64)
    kept = truth != IGNORE
    pixels = np.bincount(patch[kept] * classes + truth[kept], minlength=grid[0] * grid[1] * classes)
    return pixels.reshape(*grid, classes)


def patch_majority(mask: NDArray[np.integer[Any]], grid: tuple[int, int], classes: int) -> NDArray[np.int64]:
    """Majority class of every patch, of the same arguments as `patch_pixels`.

    Returns:
        (h, w) ids 0..C-1, the lowest on ties, -1 where no pixel is labelled.

    Example:
        >>> patch_majority(np.array([[1, 1, 0], [1, 0, 255]]), (1, 1), 2).tolist()
        [[1]]
    """
    pixels = patch_pixels(mask, grid, classes)
    return np.where(pixels.any(-1), pixels.argmax(-1), NONE).astype(np.int64)


def image_pixels(manifest: Manifest, entry: Entry, grid: tuple[int, int]) -> NDArray[np.int64] | None:
    """`patch_pixels` of one picture of the manifest, None where it has no mask."""
    if entry.mask is None:
        return None
    return patch_pixels(load_labels(manifest.root / entry.mask, manifest.lut), grid, len(manifest.classes))


def image_patches(manifest: Manifest, entry: Entry, grid: tuple[int, int]) -> NDArray[np.int64] | None:
    """`patch_majority` of one picture of the manifest, None where it has no mask."""
    if entry.mask is None:
        return None
    return patch_majority(load_labels(manifest.root / entry.mask, manifest.lut), grid, len(manifest.classes))
