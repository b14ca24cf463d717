"""What is left of a picture after its conversion to 8-bit RGB, and whether that is worth looking at.

A conversion may be right by the file and still leave nothing: 12-bit values in a 16-bit file are nearly black, a
picture whose fourth band is taken for transparency is white, a mask among the pictures has a handful of dark values.
The scan names such pictures; none of them is refused, for a black frame may be meant.

A picture is looked at through a sample of its pixels; only one that seems to be empty is measured as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from patchbank.datasets.images import DEEP, Decoded

SAMPLE = 48
"""Side of the sample in pixels."""
OUTLIERS = 0.001
"""Share of pixels at each end of the values that does not count: hot pixels make no picture."""
FEW = 16
"""Fewer 8-bit values than these, or all values this near to black or white, are nothing to look at."""
FEW_DEEP = 64
"""The same for a file of 16 bits, which should fill its range: 14 bits of the 16 are below it."""

FOURTH = "a fourth band is read as transparency; depth={bands: [1, 2, 3]} reads the first three of a TIFF alone"
"""Of pictures that transparency makes white: what it may be instead, and the way out."""


@dataclass(frozen=True)
class Contrast:
    """What is wrong with a picture, and what was measured.

    Attributes:
        problem: ``""`` for a picture like others, else words that follow "is": "nearly black".
        lowest: smallest 8-bit value of the bands, without outliers.
        highest: largest 8-bit value of the bands, without outliers.
    """

    problem: str = ""
    lowest: int = 0
    highest: int = 255


NO_PROBLEM = Contrast()


def contrast(decoded: Decoded) -> Contrast:
    """Whether a picture shows anything after its conversion.

    Example:
        >>> contrast(Decoded(Image.new("RGB", (8, 8), (3, 3, 3)), ()))
        Contrast(problem='of one colour', lowest=3, highest=3)
    """
    deep = any(name in DEEP for name in decoded.conversions)
    size = (min(decoded.image.width, SAMPLE), min(decoded.image.height, SAMPLE))
    if size != decoded.image.size:
        small = decoded.image.resize(size, Image.Resampling.NEAREST)
        small_alpha = None if decoded.alpha is None else decoded.alpha.resize(size, Image.Resampling.NEAREST)
        if not _judged(small, small_alpha, deep).problem:
            return NO_PROBLEM
    return _judged(decoded.image, decoded.alpha, deep)


def _judged(image: Image.Image, alpha: Image.Image | None, deep: bool) -> Contrast:
    """The picture by its transparency, else by its values."""
    faded = "" if alpha is None else _faded(alpha)
    bands = np.asarray(image.histogram()).reshape(-1, 256)
    below, total = bands.cumsum(1), image.width * image.height
    cut = int(OUTLIERS * total)
    low, high = (below <= cut).sum(1), (below < total - cut).sum(1)
    lowest, highest = int(low.min()), int(high.max())
    few = FEW_DEEP if deep else FEW
    if faded:
        return Contrast(faded, lowest, highest)
    if (bands.max(1) == total).all():
        problem = "of one colour"
    elif highest < few:
        problem = "nearly black"
    elif lowest > 255 - few:
        problem = "nearly white"
    elif int((high - low).max()) < few:
        problem = "nearly of one colour"
    else:
        return NO_PROBLEM
    return Contrast(f"{problem} after conversion from 16 to 8 bits" if deep else problem, lowest, highest)


def _faded(alpha: Image.Image) -> str:
    """What laying a picture over white has done to it, told by its alpha band; "" where most of it is opaque."""
    pixels = np.asarray(alpha.histogram())
    opacity = float(pixels @ np.arange(256)) / (255 * pixels.sum())
    if not opacity:
        return f"white, because all of it is transparent ({FOURTH})"
    if pixels[1:255].sum() > pixels.sum() / 2:
        return f"mixed with white, because most of it is half transparent ({FOURTH})"
    return "mostly white, because more than half of it is transparent" if opacity < 0.5 else ""
