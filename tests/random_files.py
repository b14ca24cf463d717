"""Files drawn at random: pictures and masks of every mode and format, sound or broken, of few pixels."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from odd_files import GREY, png
from PIL import Image

ORIENTATION = 0x0112
SIDES = (1, 2, 3, 5, 16, 33)
"""Widths and heights."""
FORMATS = {
    "RGB": ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"),
    "L": ("PNG", "JPEG", "BMP", "TIFF", "PPM"),
    "1": ("PNG", "BMP", "TIFF", "PPM"),
    "P": ("PNG", "GIF", "BMP", "TIFF"),
    "LA": ("PNG", "TIFF"),
    "RGBA": ("PNG", "WEBP", "TIFF"),
    "CMYK": ("JPEG", "TIFF"),
    "I;16": ("PNG", "TIFF"),
    "F": ("TIFF",),
    "I": ("TIFF",),
}
"""File formats of each colour mode; the last two have no safe conversion."""
SUFFIXES = {"JPEG": (".jpg", ".JPG", ".jpeg", ".jfif"), "TIFF": (".tif", ".TIFF"), "PPM": (".ppm", ".pgm", ".pnm")}


def noise(draw: random.Random, *shape: int, below: int = 256) -> NDArray[np.int64]:
    """Whole numbers of `shape`, 0 to `below` - 1."""
    return np.random.default_rng(draw.randrange(1 << 32)).integers(0, below, shape)


def image(draw: random.Random, mode: str, size: tuple[int, int]) -> Image.Image:
    """A picture of noise, or of one colour."""
    width, height = size
    below = draw.choice((2, 256, 256, 256))
    if mode == "1":
        return Image.fromarray(noise(draw, height, width).astype(np.uint8)).convert("1")
    if mode == "P":
        made = Image.fromarray(noise(draw, height, width, below=below).astype(np.uint8)).convert("P")
        made.putpalette(noise(draw, 768).astype(np.uint8).tobytes())
        return made
    if mode == "I;16":
        return Image.fromarray(noise(draw, height, width, below=below * 256).astype(np.uint16))
    if mode in ("F", "I"):
        return Image.fromarray(noise(draw, height, width).astype(np.float32 if mode == "F" else np.int32))
    bands = len(Image.new(mode, (1, 1)).getbands())
    channels = [Image.fromarray(noise(draw, height, width, below=below).astype(np.uint8)) for _ in range(bands)]
    return channels[0] if bands == 1 else Image.merge(mode, channels)


def picture(draw: random.Random, size: tuple[int, int] | None = None) -> tuple[bytes, str]:
    """The bytes of a sound file and a fitting suffix; modes that are refused are rare."""
    mode = draw.choice((*FORMATS, *("RGB", "L") * 30, *("1", "P", "LA", "RGBA", "CMYK", "I;16") * 9))
    file_format = draw.choice(FORMATS[mode])
    made = image(draw, mode, size or (draw.choice(SIDES), draw.choice(SIDES)))
    more: dict[str, object] = {}
    if mode == "P" and draw.random() < 0.5 and file_format in ("PNG", "GIF"):
        more["transparency"] = 1
    if file_format == "JPEG":
        more["progressive"] = draw.random() < 0.3
    if file_format in ("JPEG", "PNG", "WEBP", "TIFF") and draw.random() < 0.2:
        exif = Image.Exif()
        exif[ORIENTATION] = draw.randrange(10)  # 0 and 9 mean nothing
        more["exif"] = exif
    if file_format in ("GIF", "TIFF", "WEBP", "PNG") and mode != "P" and draw.random() < 0.02:
        more |= {"save_all": True, "append_images": [image(draw, mode, made.size)]}
    data = io.BytesIO()
    made.save(data, file_format, **more)  # type: ignore[arg-type]
    return data.getvalue(), draw.choice(SUFFIXES.get(file_format, (f".{file_format.lower()}",)))


def turned(data: bytes, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the picture `data`, stored as `size`, as people see it."""
    return size[::-1] if Image.open(io.BytesIO(data)).getexif().get(ORIENTATION) in (5, 6, 7, 8) else size


def mask(draw: random.Random, size: tuple[int, int], values: Sequence[int]) -> bytes:
    """A PNG of class ids, grey or palette, width and height as `size`."""
    raw = np.asarray(values)[noise(draw, size[1], size[0], below=len(values))]
    if max(values) > 255:
        return png(raw.astype(np.uint16), 16, GREY)
    if max(values) < 4 and draw.random() < 0.2:
        return png(raw.astype(np.uint8), draw.choice((2, 4)), GREY)
    made = Image.fromarray(raw.astype(np.uint8))
    if draw.random() < 0.4:
        made.putpalette(noise(draw, 768).astype(np.uint8).tobytes())
    data = io.BytesIO()
    made.save(data, "PNG")
    return data.getvalue()


def _cut(draw: random.Random) -> bytes:
    data = picture(draw)[0]
    return data[: draw.randrange(len(data))]


def _flipped(draw: random.Random) -> bytes:
    data = bytearray(picture(draw)[0])
    for _ in range(draw.randrange(1, 4)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


STARTS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"BM", b"P6 3 ", b"%PDF-1.4")
BROKEN: tuple[Callable[[random.Random], bytes], ...] = (
    _cut,
    _flipped,
    lambda draw: b"",
    lambda draw: bytes(draw.randrange(1, 200)),
    lambda draw: b"<html>no picture</html>",
    lambda draw: draw.randbytes(draw.randrange(1, 300)),
    lambda draw: draw.choice(
        (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"BM", b"P6 3 ", b"%PDF-1.4")
    ),
    lambda draw: b"\0\0\0\x18ftypheic" + bytes(80),
)
"""What is no sound picture, or hardly one."""


def broken(draw: random.Random) -> bytes:
    """Bytes that a folder of pictures may hold and that most likely cannot be used."""
    return draw.choice(BROKEN)(draw)
