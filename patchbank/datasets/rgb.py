"""From an opened picture to upright 8-bit RGB. Shapes the values of banks (`patchbank.bank.identity`).

Greyscale, palette and CMYK become RGB, 16-bit greyscale is scaled to 8 bits, transparency is laid over white, and the
picture is turned as its EXIF orientation says. `patchbank.datasets.images` reads, checks and has the words for people.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from PIL import Image

import patchbank.datasets.matlab  # noqa: F401 - Pillow reads MATLAB files from here on
from patchbank.datasets.unusable import DECODE_ERRORS, Unusable

ORIENTATION = 0x0112
"""Number of the EXIF tag."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of that orientation upright; others are left as they are."""
PLAIN = ("1", "L", "P", "CMYK", "YCbCr", "HSV")
TRANSPARENT = ("RGBA", "LA", "PA", "RGBa", "La")
GREY16 = ("I;16", "I;16B", "I;16L", "I;16N")


class Conversion(Enum):
    """How a picture became RGB."""

    NONE = 0
    PLAIN = 1
    OVER_WHITE = 2
    GREY16 = 3


def orientation(image: Image.Image) -> int | None:
    """The EXIF orientation, 1 where nothing is said or nonsense; None where the block cannot be read."""
    try:
        value = image.getexif().get(ORIENTATION, 1)
    except DECODE_ERRORS:
        return None
    return value if isinstance(value, int) else 1


def upright(image: Image.Image) -> tuple[Image.Image, int | None]:
    """The image turned as its EXIF orientation says, and that orientation."""
    number = orientation(image)
    turn = None if number is None else TURNS.get(number)
    return (image if turn is None else image.transpose(turn)), number


def to_rgb(image: Image.Image, file_format: str | None) -> tuple[Image.Image, Conversion]:
    """`image` in RGB and how it became so; `Unusable` for a mode without a safe conversion."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image, Conversion.NONE
    if mode in TRANSPARENT or "transparency" in image.info:
        above = image.convert("RGBA")
        below = Image.new("RGBA", above.size, (255, 255, 255, 255))
        return Image.alpha_composite(below, above).convert("RGB"), Conversion.OVER_WHITE
    if mode in GREY16 or (mode == "I" and file_format == "PNG"):
        values = np.asarray(image).astype(np.uint32)
        grey = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
        return grey.convert("RGB"), Conversion.GREY16
    if mode not in PLAIN:
        raise Unusable(f"has colour mode {mode}, which has no safe conversion to 8-bit RGB; save it as 8-bit RGB")
    return image.convert("RGB"), Conversion.PLAIN
