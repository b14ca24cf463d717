"""TIFFs of odd depth, bands, storage, byte order and compression: read right, or refused in one sentence."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets.images import decode_image, load_image, read_size
from patchbank.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "input_files.md"
RANDOM = np.random.default_rng(3)
BYTES = RANDOM.integers(0, 256, (40, 52), dtype=np.uint8)
BLOCKS = np.kron(RANDOM.integers(0, 256, (3, 4, 1), dtype=np.uint8), np.ones((16, 16, 3), np.uint8))
"""Grey: decoders smooth the borders of colours in their own ways."""
COLOUR = RANDOM.integers(0, 256, (40, 52, 3), dtype=np.uint8)
TWELVE = RANDOM.integers(0, 4096, (40, 52), dtype=np.uint16)
FLOATS = RANDOM.normal(size=(40, 52)).astype(np.float32)
SIX = RANDOM.integers(0, 9999, (40, 52, 6), dtype=np.uint16)
HOLED = FLOATS.copy()
HOLED[:5] = np.nan
NO_DATA = np.where(np.isnan(HOLED), np.float32(-9999), HOLED)


def tiff(values: NDArray[Any], **how: Any) -> bytes:
    """By tifffile; the last axis are bands, unless they lie in planes."""
    buffer = io.BytesIO()
    if values.ndim == 3 and how.get("planarconfig") != "separate":
        how = {"planarconfig": "contig", **how}
    tifffile.imwrite(buffer, values, metadata=None, **how)
    return buffer.getvalue()


def pillow(image: Image.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", **how)
    return buffer.getvalue()


def with_overviews() -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(TWELVE, tile=(16, 16), metadata=None, **GREY)
        writer.write(TWELVE[::2, ::2], subfiletype=1, metadata=None, **GREY)
    return buffer.getvalue()


def damaged() -> bytes:
    """A strip that begins with other bytes than its codec writes."""
    data = bytearray(tiff(TWELVE, compression="zlib", **GREY))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        (start,) = file.pages[0].dataoffsets  # type: ignore[union-attr]
    data[start : start + 20] = bytes(20)
    return bytes(data)


GREY: dict[str, Any] = {"photometric": "minisblack"}
PLANES = np.moveaxis(SIX, -1, 0)
ONE = Image.fromarray(BYTES > 127)
PLAIN = tiff(TWELVE, **GREY)
READ: dict[str, tuple[bytes, NDArray[Any]]] = {
    # depth
    "1 bit": (pillow(ONE), np.where(BYTES > 127, 255, 0).astype(np.uint8)),
    "1 bit, fax compression": (pillow(ONE, compression="group4"), np.where(BYTES > 127, 255, 0).astype(np.uint8)),
    "8 bits, grey": (tiff(BYTES, **GREY), BYTES),
    "8 bits, RGB": (tiff(COLOUR, photometric="rgb"), COLOUR),
    "10 bits, packed": (tiff(TWELVE >> 2, bitspersample=10, **GREY), TWELVE >> 2),
    "12 bits, packed": (tiff(TWELVE, bitspersample=12, **GREY), TWELVE),
    "12 bits in 16": (PLAIN, TWELVE),
    "16 bits, signed": (tiff(TWELVE.astype(np.int16) - 900, **GREY), TWELVE.astype(np.int16) - 900),
    "32 bits": (tiff(TWELVE.astype(np.uint32) << 19, **GREY), TWELVE.astype(np.uint32) << 19),
    "64 bits": (tiff(TWELVE.astype(np.uint64) << 40, **GREY), TWELVE.astype(np.uint64) << 40),
    "16-bit floats": (tiff(FLOATS.astype(np.float16), **GREY), FLOATS.astype(np.float16)),
    "32-bit floats": (tiff(FLOATS, **GREY), FLOATS),
    "64-bit floats": (tiff(FLOATS.astype(np.float64), **GREY), FLOATS.astype(np.float64)),
    # bands
    "2 bands": (tiff(SIX[..., :2], **GREY), SIX[..., 0]),
    "4 bands of 16 bits": (tiff(SIX[..., :4], **GREY), SIX[..., :3]),
    "6 bands": (tiff(SIX, **GREY), SIX[..., :3]),
    "6 bands in planes": (tiff(PLANES, planarconfig="separate", **GREY), SIX[..., :3]),
    "5 bands of 8 bits": (tiff((SIX[..., :5] >> 6).astype(np.uint8), **GREY), (SIX[..., :3] >> 6).astype(np.uint8)),
    "white is zero": (tiff(TWELVE, photometric="miniswhite"), 4095 - TWELVE),
    "palette": (
        pillow(Image.fromarray(COLOUR).quantize(64)),
        np.asarray(Image.fromarray(COLOUR).quantize(64).convert("RGB")),
    ),
    # storage
    "strips of 7 rows": (tiff(TWELVE, rowsperstrip=7, **GREY), TWELVE),
    "tiles": (tiff(TWELVE, tile=(16, 32), **GREY), TWELVE),
    "a tile larger than the picture": (tiff(TWELVE, tile=(64, 64), **GREY), TWELVE),
    "tiles in planes": (tiff(PLANES, tile=(16, 16), planarconfig="separate", **GREY), SIX[..., :3]),
    "tiles of 8-bit RGB": (tiff(COLOUR, tile=(16, 16), photometric="rgb"), COLOUR),
    "overviews behind the picture": (with_overviews(), TWELVE),
    # byte order
    "big-endian, 16 bits": (tiff(TWELVE, byteorder=">", **GREY), TWELVE),
    "big-endian, floats in tiles": (tiff(FLOATS, byteorder=">", tile=(16, 16), **GREY), FLOATS),
    "big-endian, 8 bits": (tiff(COLOUR, byteorder=">", photometric="rgb"), COLOUR),
    "BigTIFF": (tiff(TWELVE, bigtiff=True, **GREY), TWELVE),
    "BigTIFF, big-endian": (tiff(COLOUR, bigtiff=True, byteorder=">", photometric="rgb"), COLOUR),
    # compression
    "LZW": (tiff(TWELVE, compression="lzw", predictor=True, **GREY), TWELVE),
    "deflate": (tiff(TWELVE, compression="zlib", predictor=True, byteorder=">", **GREY), TWELVE),
    "deflate, predictor of floats": (tiff(FLOATS, compression="zlib", predictor=3, **GREY), FLOATS),
    "ZSTD": (tiff(TWELVE, compression="zstd", tile=(32, 32), **GREY), TWELVE),
    "LZMA": (tiff(TWELVE, compression="lzma", **GREY), TWELVE),
    "PackBits": (tiff(TWELVE, compression="packbits", **GREY), TWELVE),
    "JPEG 2000": (tiff(TWELVE, compression="jpeg2000", compressionargs={"level": 0}, **GREY), TWELVE),
    "LERC": (tiff(FLOATS, compression="lerc", **GREY), FLOATS),
    "JPEG": (tiff(BLOCKS, compression="jpeg", compressionargs={"level": 100}, photometric="rgb"), BLOCKS),
    # meaning
    "NaN": (tiff(HOLED, **GREY), HOLED),
    "a value without data": (tiff(NO_DATA, extratags=[(42113, 2, 0, "-9999", True)], **GREY), HOLED),
}
REFUSED: dict[str, tuple[bytes, str]] = {
    "complex numbers": (tiff(FLOATS.astype(np.complex64), **GREY), "type complex64"),
    "CMYK of 16 bits": (tiff(SIX[..., :4], photometric="separated"), "colour model SEPARATED"),
    "CIELAB": (tiff(SIX[..., :3], photometric="cielab"), "colour model CIELAB"),
    "palette of 16 bits": (
        tiff(TWELVE, photometric="palette", colormap=np.zeros((3, 65536), np.uint16)),
        "colour model PALETTE",
    ),
    "a volume": (tiff(np.stack([TWELVE] * 2), volumetric=True, tile=(2, 16, 16), **GREY), "volume of 2 layers"),
    "cut off in its header": (PLAIN[:60], "not an image|broken header"),
    "cut off in its data": (
        tiff(TWELVE, compression="zlib", **GREY)[:-500],
        "truncated or damaged|broken header|not an image",
    ),
    "damaged data": (damaged(), "truncated or damaged"),
}


def expected(values: NDArray[Any]) -> NDArray[np.float64]:
    """(H, W, 3) as one would write it down: 8 bits as they are, others between their percentiles, holes black."""
    values = values.reshape(*values.shape[:2], -1)
    if values.dtype != np.uint8:
        values = values.astype(np.float64)
        low, high = np.nanpercentile(values, [2, 98], axis=(0, 1))
        values = np.nan_to_num(np.clip((values - low) / (high - low), 0, 1) * 255)
    return np.broadcast_to(values, (*values.shape[:2], 3)).astype(np.float64)


@pytest.mark.parametrize("name", READ)
def test_read_right(name: str, tmp_path: Path) -> None:
    data, values = READ[name]
    wanted = expected(values)
    np.testing.assert_allclose(np.asarray(decode_image(data).image), wanted, rtol=0, atol=2 if name == "JPEG" else 0.51)
    (tmp_path / "a.tif").write_bytes(data)
    assert read_size(tmp_path / "a.tif", indexed=False) == wanted.shape[1::-1]  # the header says the same


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    data, says = REFUSED[name]
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(UserError, match=f"a\\.tif: .*({says})") as caught:
        load_image(tmp_path / "a.tif")
    sentence = str(caught.value).removeprefix(str(tmp_path))
    assert len(sentence) < 160
    assert sentence.count("\n") == 0
    assert sentence.endswith(".")


def test_the_page_names_them() -> None:
    text = PAGE.read_text().partition("## Odd TIFFs")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (read|refused) \| (.+) \|$", text, re.MULTILINE)
    named = {kind: {one.strip() for said, cell in rows if said == kind for one in cell.split(";")} for kind, _ in rows}
    assert named == {"read": set(READ), "refused": set(REFUSED)}
    assert len(READ) + len(REFUSED) >= 40
