"""The corpus of broken and odd inputs: what a user's folder may hold, and what must come of it. Images and masks.

Each case is one thing beside two good pairs. `docs/input_files.md` has a row for each name (several cases may share
one), which `test_datasets_corpus.py` compares.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from odd_files import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    adobe,
    apng,
    bmp,
    chunk,
    exif,
    gif,
    header,
    jpeg,
    multi_picture,
    packed,
    png,
    segment,
    tiff,
    webp,
)

PIXELS = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7
LABELS = np.array([[0, 1, 255, 0]] * 3, np.uint8)
BLOCKS = np.array([[[10], [250]], [[90], [128]]], np.uint8)
GREYS = np.repeat(BLOCKS, 3, axis=2)
YCC = np.concatenate([BLOCKS, np.full((2, 2, 2), 128, np.uint8)], axis=2)
"""The same as luminance and neutral colour, as a JPEG stores it."""


def large(blocks: np.ndarray) -> np.ndarray:
    """Blocks as pixels."""
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


@dataclass(frozen=True)
class Case:
    """One input. `files` are written (or `make` does it); `image` or `labels` is what must be read; else it is refused
    with `says` about `names`, found by `by`: list (names and lists), header, or decode."""

    row: str
    files: dict[str, bytes] = field(default_factory=dict)
    make: Callable[[Path], None] | None = None
    image: np.ndarray | None = None
    labels: np.ndarray | None = None
    name: str = ""
    by: str = ""
    says: str = ""
    layout: str = "folder"
    masks: bool = True


CASES: dict[str, Case] = {}


def image(case: str, data: bytes, pixels: Any, suffix: str = ".png", row: str = "") -> None:
    """An image that is converted to `pixels` (h, w, 3)."""
    expected = np.asarray(pixels)
    mask = png(np.zeros(expected.shape[:2], np.uint8), 8, GREY)
    name = f"images/val/odd{suffix}"
    CASES[case] = Case(row or case, {name: data, "masks/val/odd.png": mask}, image=expected, name=name)


def bad_image(case: str, data: bytes, by: str, says: str, suffix: str = ".png", row: str = "") -> None:
    """An image that is refused."""
    name = f"images/val/odd{suffix}"
    CASES[case] = Case(row or case, {name: data}, name=name, by=by, says=says, masks=False)


def mask(
    case: str, data: bytes, labels: Any, suffix: str = ".png", picture: bytes | None = None, row: str = ""
) -> None:
    """A mask that is read as `labels` (h, w)."""
    expected = np.asarray(labels)
    picture = picture or png(np.zeros((*expected.shape, 3), np.uint8), 8, RGB)
    name = f"masks/val/odd{suffix}"
    CASES[case] = Case(row or case, {"images/val/odd.png": picture, name: data}, labels=expected, name=name)


def bad_mask(case: str, data: bytes, by: str, says: str, suffix: str = ".png") -> None:
    """A mask of a 4x3 picture that is refused."""
    name = f"masks/val/odd{suffix}"
    files = {"images/val/odd.png": png(PIXELS, 8, RGB), name: data}
    CASES[case] = Case(case, files, name=name, by=by, says=says)


# ---- JPEG
image("JPEG", jpeg(YCC), large(GREYS), ".jpg")
image("JPEG, progressive", jpeg(YCC, sof=0xC2), large(GREYS), ".jpg")
image("JPEG, greyscale", jpeg(BLOCKS), large(GREYS), ".jpg")
TINTED = GREYS + np.array([1, 2, 3], np.uint8)
image("JPEG, RGB with Adobe's marker", jpeg(TINTED, adobe(0)), large(TINTED), ".jpg")
INK = np.array([[[0, 255, 255, 255], [255, 255, 255, 0]]], np.uint8)
image("JPEG, CMYK", jpeg(INK, adobe(0)), large(np.array([[[0, 255, 255], [0, 0, 0]]])), ".jpg")
YCCK = np.array([[[255, 128, 128, 255], [0, 128, 128, 255]]], np.uint8)
image("JPEG, YCCK", jpeg(YCCK, adobe(2)), large(np.array([[[0] * 3, [255] * 3]])), ".jpg")
image("JPEG with fill bytes before markers", jpeg(YCC, padding=b"\xff\xff\xff"), large(GREYS), ".jpg")
image("JPEG with bytes after its end", jpeg(YCC) + b"\0\0\0\x18ftypmp42", large(GREYS), ".jpg")
image("JPEG with a broken ICC profile", jpeg(YCC, segment(0xE2, b"ICC_PROFILE\0\1\1no")), large(GREYS), ".jpg")
image("JPEG with broken EXIF", jpeg(YCC, segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f")), large(GREYS), ".jpg")
image("JPEG of several pictures (MPO)", multi_picture(jpeg(YCC), jpeg(YCC[:1])), large(GREYS), ".jpg")
image("JPEG named .JPG", jpeg(YCC), large(GREYS), ".JPG", row="suffix in capitals, or none")
image("JPEG without a suffix", jpeg(YCC), large(GREYS), "", row="suffix in capitals, or none")
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}
WIDE = np.concatenate([GREYS, GREYS[::-1, :1]], axis=1)
WIDE_YCC = np.concatenate([YCC, YCC[::-1, :1]], axis=1)
for number, turn in TURNS.items():
    turned = jpeg(WIDE_YCC, segment(0xE1, b"Exif\0\0" + exif(number)))
    image(f"JPEG, orientation {number}", turned, turn(large(WIDE)), ".jpg", row="JPEG with EXIF orientation 1 to 8")
bad_image("JPEG, truncated", jpeg(np.repeat(YCC, 20, axis=0))[:-60], "decode", "truncated or damaged", ".jpg")
bad_image("JPEG, header only", jpeg(YCC)[:40], "header", "not an image|broken header", ".jpg")
bad_image("JPEG start and zeros", b"\xff\xd8\xff" + bytes(500), "header", "not an image", ".jpg")
bad_image("JPEG of 12 bits", jpeg(YCC, precision=12), "header", "not an image|broken header", ".jpg")
bad_image(
    "JPEG, zero height", jpeg(YCC).replace(struct.pack(">HH", 16, 16), bytes(4), 1), "header", "not an image", ".jpg"
)
# ---- PNG
image("PNG", png(PIXELS, 8, RGB), PIXELS)
image("PNG, interlaced", png(PIXELS, 8, RGB, interlaced=True), PIXELS)
image("PNG, 1-bit greyscale", png(LABELS & 1, 1, GREY), np.repeat((LABELS[..., None] & 1) * 255, 3, 2))
image("PNG, 2-bit greyscale", png(LABELS & 3, 2, GREY), np.repeat((LABELS[..., None] & 3) * 85, 3, 2))
image("PNG, 4-bit greyscale", png(LABELS & 15, 4, GREY), np.repeat((LABELS[..., None] & 15) * 17, 3, 2))
SIXTEEN = np.array([[0, 128, 32767, 65535, 257 * 77]], np.uint16)
SCALED = np.array([[[v] * 3 for v in (0, 0, 133, 255, 80)]])
"""The same with their 2nd and 98th percentile, 10.24 and 61,914.4, as black and white."""
image("PNG, 16-bit greyscale", png(SIXTEEN, 16, GREY), SCALED)
image("PNG, 16-bit RGB", png(PIXELS.astype(np.uint16) << 8, 16, RGB), PIXELS)
COLOURS = chunk(b"PLTE", bytes([9, 9, 9, 10, 20, 30]))
image("PNG, palette", png(LABELS[:, :2], 8, PALETTE, COLOURS), [[[9] * 3, [10, 20, 30]]] * 3)
CLEAR = [[[255] * 3, [10, 20, 30]]]
image("PNG, palette with transparency", png(LABELS[:1, :2], 8, PALETTE, COLOURS, chunk(b"tRNS", b"\0")), CLEAR)
image("PNG, RGBA", png(np.array([[[9, 9, 9, 0], [10, 20, 30, 255]]]), 8, RGBA), CLEAR)
GREY_CLEAR = png(np.array([[[9, 0], [20, 255]]]), 8, GREY_ALPHA)
image("PNG, grey with alpha", GREY_CLEAR, [[[255] * 3, [20] * 3]])
image("PNG with a broken ICC profile", png(PIXELS, 8, RGB, chunk(b"iCCP", b"x\0\0nonsense")), PIXELS)
image("PNG with bytes after its end", png(PIXELS, 8, RGB) + b"more" * 100, PIXELS)
image("PNG without its end chunk", png(PIXELS, 8, RGB)[:-12], PIXELS)
image("picture of one pixel", png(PIXELS[:1, :1], 8, RGB), PIXELS[:1, :1])
LONG = np.resize(PIXELS[:1, :2], (1, 20000, 3))
image("picture of 20000x1", png(LONG, 8, RGB), LONG)
bad_image("PNG, truncated", png(np.zeros((50, 50, 3)), 8, RGB)[:-30], "decode", "truncated or damaged")
bad_image("PNG with missing rows", png(PIXELS, 8, RGB, rows=2), "decode", "truncated or damaged")
ROWS = png(PIXELS, 8, RGB, interlaced=True, rows=-1)
bad_image("PNG, interlaced, with missing rows", ROWS, "decode", "truncated or damaged", row="PNG with missing rows")
bad_image("PNG, broken stream", png(PIXELS, 8, RGB).replace(b"x\x9c", b"\0\0"), "decode", "truncated or damaged")
FLIPPED = png(PIXELS, 8, RGB)
bad_image(
    "PNG, wrong checksum of the data", FLIPPED[:-20] + b"\0\0\0\0" + FLIPPED[-16:], "decode", "truncated or damaged"
)
STREAM = zlib.compress(b"".join(packed(PIXELS, 8)))
BAD_SUM = header(4, 3, 8, RGB) + chunk(b"IDAT", STREAM[:-1] + bytes([STREAM[-1] ^ 1])) + chunk(b"IEND", b"")
bad_image("PNG, wrong checksum of its stream", BAD_SUM, "decode", "truncated or damaged")
BAD_TEXT = chunk(b"tEXt", b"a\0b")[:-4] + b"\0\0\0\0"
bad_image("PNG, wrong checksum of a comment", png(PIXELS, 8, RGB, BAD_TEXT), "header", "not an image|broken header")
bad_image("PNG, signature only", png(PIXELS, 8, RGB)[:8], "header", "not an image|broken header")
bad_image("PNG, zero width", header(0, 3, 8, RGB) + chunk(b"IDAT", b""), "header", "not an image|broken header")
bad_image("PNG of 3 bits", header(4, 3, 3, GREY) + chunk(b"IDAT", b""), "header", "not an image|broken header")
BOMB = header(60_000, 60_000, 8, GREY) + chunk(b"IDAT", zlib.compress(bytes(60_000))) + chunk(b"IEND", b"")
bad_image("header of 60000x60000", BOMB, "header", "million pixels")
bad_image("animated PNG", apng([PIXELS, PIXELS]), "header", "holds 2 frames")
# ---- other formats
image("GIF of one frame", gif(1), [[[10, 20, 30]]], ".gif")
bad_image("animated GIF", gif(3), "header", "holds 3 frames", ".gif")
image("WebP", webp(5, 3, (10, 20, 30)), np.full((3, 5, 3), [10, 20, 30]), ".webp")
bad_image("animated WebP", webp(5, 3, (1, 2, 3), frames=2), "header", "holds 2 frames", ".webp")
bad_image("GIF, truncated", gif(1)[:-6], "header", "not an image|broken header", ".gif")
bad_image("WebP, truncated", webp(5, 3, (1, 2, 3))[:-6], "header", "not an image|broken header", ".webp")
bad_image("BMP, truncated", bmp(PIXELS)[:-9], "decode", "truncated or damaged", ".bmp")
bad_image("TIFF, truncated", tiff(PIXELS, 2)[:60], "header", "not an image|broken header", ".tif")
image("BMP", bmp(PIXELS), PIXELS, ".bmp")
image("TIFF", tiff(PIXELS, 2), PIXELS, ".tif")
image("TIFF, 16-bit greyscale", tiff(SIXTEEN, 1), SCALED, ".tif")
image("TIFF, CMYK", tiff(np.array([[[255, 0, 0, 0], [0, 0, 0, 255]]], np.uint8), 5), [[[0, 255, 255], [0] * 3]], ".tif")
image("TIFF, orientation 6", tiff(PIXELS, 2, orientation=6), np.rot90(PIXELS, -1), ".tif")
for case, stack, pixels, labels, suffix in (
    ("TIFF of several pages", tiff(PIXELS, 2, pages=3), PIXELS, LABELS, ".p003.png"),
    ("TIFF of several pages, 16-bit", tiff(SIXTEEN, 1, pages=3), SCALED, LABELS[:1, [0, 1, 0, 1, 2]], ".p003.png"),
    ("mask, TIFF of several pages", tiff(PIXELS, 2, pages=3), PIXELS, LABELS, ".tif"),
):
    named = {".tif": tiff(labels, 1, pages=3), ".p003.png": png(labels, 8, GREY)}[suffix]
    files = {"images/val/odd.tif": stack, f"masks/val/odd{suffix}": named}
    CASES[case] = Case(case.partition(", 16")[0], files, None, pixels, labels, "images/val/odd.p003.tif")
bad_image("TIFF of several pages, truncated", tiff(PIXELS, 2, pages=3)[:-9], "header", "holds|broken header", ".tif")
image("TIFF, floating-point", tiff(SIXTEEN / np.float32(9), 1, kind=3), SCALED, ".tif")
image("TIFF, 32-bit", tiff(SIXTEEN.astype(np.int32) - 9999, 1, kind=2), SCALED, ".tif")
image("TIFF of 5 bands", tiff(np.stack([SIXTEEN] * 5, -1), 1), SCALED, ".tif")
image("TIFF, 16-bit RGB", tiff(np.stack([SIXTEEN] * 3, -1), 2), SCALED, ".tif")
bad_image(
    "TIFF, 16-bit CMYK", tiff(np.stack([SIXTEEN] * 4, -1), 5), "header", "colour model SEPARATED in 16 bits", ".tif"
)
bad_image("TIFF, complex numbers", tiff(np.ones((3, 4), np.complex64), 1, kind=6), "header", "type complex64", ".tif")
image("PPM", b"P6 4 3 255\n" + PIXELS.tobytes(), PIXELS, ".ppm")
image("GIF named .png", gif(1), [[[10, 20, 30]]], row="another format than the suffix says")
image("PNG named .jpg", png(PIXELS, 8, RGB), PIXELS, ".jpg", row="another format than the suffix says")
bad_image("web page named .jpg", b"<!DOCTYPE html><html>404</html>", "header", "not an image", ".jpg")
bad_image(
    "PDF", b"%PDF-1.7\n" + bytes(300), "header", "is a PDF file, which is not read; save it as PNG or JPEG", ".pdf"
)
bad_image(
    "HEIC",
    struct.pack(">I", 24) + b"ftypheic" + bytes(300),
    "header",
    "is a HEIC file, which is not read; save it as PNG",
    ".heic",
)
bad_image("zero bytes", b"", "list", "zero bytes")
bad_image("nothing but zeros", bytes(5000), "header", "not an image")
# ---- masks
for depth, kind, values in ((1, GREY, LABELS & 1), (2, GREY, LABELS & 1), (4, GREY, LABELS & 1), (8, GREY, LABELS)):
    mask(f"mask, {depth}-bit greyscale", png(values, depth, kind), values, row="mask of 1, 2, 4 or 8 bits")
for depth in (1, 2, 4):
    packed = tiff(LABELS & 1, 1, bits=depth)
    mask(f"mask, {depth}-bit TIFF", packed, LABELS & 1, ".tif", row="mask of 1, 2, 4 or 8 bits")
for depth in (1, 2, 4):
    values, colours = LABELS & 1, chunk(b"PLTE", bytes(3 * 2**depth))
    mask(f"mask, {depth}-bit palette", png(values, depth, PALETTE, colours), values, row="mask of 1, 2, 4 or 8 bits")
FULL = chunk(b"PLTE", bytes(768))
mask("mask, palette", png(LABELS, 8, PALETTE, FULL), LABELS)
mask("mask, palette with transparency", png(LABELS, 8, PALETTE, FULL, chunk(b"tRNS", b"\0\0\0")), LABELS)
mask("mask, interlaced", png(LABELS, 8, PALETTE, FULL, interlaced=True), LABELS)
mask("mask, 16-bit", png(LABELS.astype(np.uint16), 16, GREY), LABELS)
mask("mask, BMP", bmp(LABELS, bytes(1024)), LABELS, ".bmp")
mask("mask, TIFF", tiff(LABELS, 3), LABELS, ".tif")
mask("mask, GIF", gif(1), [[1]], ".gif")
EXIF_PNG = png(LABELS, 8, GREY, chunk(b"eXIf", exif(6)))
mask("mask with its own EXIF orientation", EXIF_PNG, np.rot90(LABELS, -1))
bad_mask(
    "mask, 16-bit with an unknown value",
    png(LABELS.astype(np.uint16) * 300, 16, GREY),
    "decode",
    "not in the label map",
)
bad_mask("mask with unknown values", png(LABELS + 7, 8, GREY), "decode", "values 6-8|values 6, 7, 8")
mask("mask, grey saved as RGB", png(np.repeat(LABELS[..., None], 3, 2), 8, RGB), LABELS)
bad_mask("mask, RGB", png(PIXELS, 8, RGB), "decode", "colour mode RGB")
bad_mask("mask, RGB of 16 bits", png(np.zeros((3, 4, 3), np.uint16), 16, RGB), "decode", "colour mode RGB")
bad_mask("mask, RGBA", png(np.zeros((3, 4, 4)), 8, RGBA), "header", "colour mode RGBA")
bad_mask("mask, grey with alpha", png(np.zeros((3, 4, 2)), 8, GREY_ALPHA), "header", "colour mode LA")
bad_mask("mask, JPEG", jpeg(BLOCKS), "header", "compression changes labels", ".jpg")
bad_mask("mask, JPEG in a TIFF", tiff(LABELS, 1, stream=jpeg(BLOCKS)), "header", "compression changes labels", ".tif")
bad_mask("mask, WebP", webp(4, 3, (1, 1, 1)), "header", "compression changes labels", ".webp")
bad_mask("mask, floating-point", tiff(np.ones((3, 4), np.float32), 1, kind=3), "header", "colour mode F", ".tif")
bad_mask("mask, animated", apng([PIXELS, PIXELS]), "header", "holds 2 frames")
bad_mask("mask of another size", png(LABELS[:2], 8, GREY), "header", "is 4x2, but its image is 4x3")
bad_mask("mask, truncated", png(np.resize(LABELS, (3, 4)), 8, GREY)[:-25], "decode", "truncated or damaged")
CASES["mask that is missing"] = Case(
    "mask that is missing", {"images/val/odd.png": png(PIXELS, 8, RGB)}, image=PIXELS, name="images/val/odd.png"
)
CASES["mask of an image with EXIF orientation"] = Case(
    "mask that is not turned as its image",
    {
        "images/val/odd.jpg": jpeg(WIDE_YCC, segment(0xE1, b"Exif\0\0" + exif(6))),
        "masks/val/odd.png": png(np.zeros((16, 24), np.uint8), 8, GREY),
    },
    name="masks/val/odd.png",
    by="header",
    says="is 24x16, but its image is 16x24; the image is turned by its EXIF orientation",
)
