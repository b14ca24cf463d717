"""Class ids of the compared pixels: the raw mask is sampled first, then mapped, so that few pixels pass the table.

For the rule `lut` the order does not matter, each pixel being mapped by itself. The rule `sequential` repeats
AlignSeg's published code, which maps the mask resized to 448x448 in place; there the values that the resized mask
holds decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from patchbank.datasets.labels import apply_lut, sequential_lut
from patchbank.errors import UserError
from patchbank.evaluation.counts import IGNORE
from patchbank.evaluation.preprocessing import Frame, pil_nearest

if TYPE_CHECKING:
    from patchbank.datasets import Manifest

RESIZED = 448
"""Side to which AlignSeg resizes masks before it maps them."""


def class_labels(raw: NDArray[Any], view: Frame, manifest: Manifest, file: str) -> NDArray[np.uint8]:
    """Class ids of the compared pixels of one mask.

    Args:
        raw: (H, W) raw values.
        view: the compared pixels.
        manifest: says what raw values mean.
        file: the mask's path below the manifest's root, for messages.

    Returns:
        (h, w) uint8, 255 = ignore; with a band also what is not near another label.

    Raises:
        UserError: a compared pixel has a value that the label map does not know.
    """
    table = manifest.lut
    if manifest.label_rule == "sequential":
        rows, columns = pil_nearest(raw.shape[0], RESIZED), pil_nearest(raw.shape[1], RESIZED)
        table = sequential_lut(np.unique(raw[rows[:, None], columns[None, :]]).tolist(), table)
    try:
        labels = apply_lut(view.labels(raw), table)
    except ValueError as reason:
        raise UserError(f"{manifest.root / file}: {reason}.") from None
    return np.where(near_another(labels, view.band), labels, IGNORE).astype(np.uint8) if view.band else labels


def near_another(labels: NDArray[np.uint8], band: int) -> NDArray[np.bool_]:
    """Pixels (h, w) that have another label within `band` >= 1 steps to one of the 8 neighbours.

    The frame of the image is no boundary; 255 is another label, so that void drawn around an object is one.
    """
    side = 2 * band + 1
    highest = ndimage.maximum_filter(labels, side, mode="nearest")
    different: NDArray[np.bool_] = highest != ndimage.minimum_filter(labels, side, mode="nearest")
    return different
