"""Image files written byte by byte: every value is known exactly, and no library that decodes them had a hand in it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
SIGNATURE = b"\x89PNG\r\n\x1a\n"


class Bits:
    """A writer of bits; `high` = the first bit is the highest of its byte (JPEG), else the lowest (WebP, GIF)."""

    def __init__(self, high: bool) -> None:
        self.high, self.bits = high, ""

    def put(self, value: int, count: int) -> None:
        text = f"{value:0{count}b}" if count else ""
        self.bits += text if self.high else text[::-1]

    def data(self, fill: str) -> bytes:
        text = self.bits + fill * (-len(self.bits) % 8)
        parts = (text[start : start + 8] for start in range(0, len(text), 8))
        return bytes(int(part if self.high else part[::-1], 2) for part in parts)


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, depth: int, colour: int, interlace: int = 0) -> bytes:
    """Signature and IHDR."""
    return SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def packed(values: np.ndarray, depth: int) -> list[bytes]:
    """Rows (h, w) or (h, w, samples) of `depth`-bit samples, each with its filter byte."""
    flat = values.reshape(values.shape[0], -1)
    if depth == 16:
        return [b"\0" + row.astype(">u2").tobytes() for row in flat]
    bits = (flat[..., None].astype(np.int64) >> np.arange(depth - 1, -1, -1)) & 1
    return [b"\0" + np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png(values: np.ndarray, depth: int, colour: int, *extra: bytes, interlaced: bool = False, rows: int = 0) -> bytes:
    """A PNG of samples (h, w) or (h, w, samples), `extra` chunks before the data; `rows`: only so many."""
    height, width = values.shape[:2]
    parts = [values[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [values]
    lines = [line for part in parts if part.size for line in packed(part, depth)][: rows or None]
    body = chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return header(width, height, depth, colour, int(interlaced)) + b"".join(extra) + body + chunk(b"IEND", b"")


def apng(frames: Sequence[np.ndarray]) -> bytes:
    """An animated PNG of RGB frames."""
    height, width = frames[0].shape[:2]
    out, number = header(width, height, 8, RGB) + chunk(b"acTL", struct.pack(">II", len(frames), 0)), 0
    for frame in frames:
        out += chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, width, height, 0, 0, 1, 10, 0, 0))
        data = zlib.compress(b"".join(packed(frame, 8)))
        out += chunk(b"IDAT", data) if number == 0 else chunk(b"fdAT", struct.pack(">I", number + 1) + data)
        number += 1 if number == 0 else 2
    return out + chunk(b"IEND", b"")


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def adobe(transform: int) -> bytes:
    """Adobe's segment: 0 = as stored, 1 = YCbCr, 2 = YCCK."""
    return segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def exif(orientation: int) -> bytes:
    """A TIFF block with the orientation alone."""
    return b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"


def jpeg(blocks: np.ndarray, *extra: bytes, sof: int = 0xC0, precision: int = 8, padding: bytes = b"") -> bytes:
    """A JPEG whose 8x8 blocks are constant, so that its values are exact: samples (h / 8, w / 8, components) uint8.

    The quantiser is 8, hence a block's only coefficient is its value - 128. `sof` 0xC2 is progressive (one scan of
    these coefficients); `padding` stands before every marker but the first.
    """
    rows, columns, components = blocks.shape
    parts = "".join(chr(n) for n in range(1, components + 1)).encode("latin-1")
    frame = struct.pack(">BHHB", precision, 8 * rows, 8 * columns, components) + b"".join(
        bytes([part, 0x11, 0]) for part in parts
    )
    tables = [segment(0xDB, b"\0" + bytes([8] * 64)), segment(sof, frame)]
    # 12 codes of 4 bits for the sizes of differences; the other table's one code, of 1 bit, ends a block
    tables.append(segment(0xC4, b"\x00" + bytes([0, 0, 0, 12] + [0] * 12) + bytes(range(12))))
    tables.append(segment(0xC4, b"\x10" + bytes([1] + [0] * 15) + b"\0"))
    progressive = sof == 0xC2
    scan = bytes([components]) + b"".join(bytes([part, 0]) for part in parts) + bytes([0, 0 if progressive else 63, 0])
    bits, last = Bits(high=True), [0] * components
    for block in blocks.reshape(-1, components).astype(int) - 128:
        for index, value in enumerate(block):
            difference = int(value) - last[index]
            last[index] = int(value)
            size = abs(difference).bit_length()
            bits.put(size, 4)
            bits.put(difference if difference >= 0 else difference + (1 << size) - 1, size)
            if not progressive:
                bits.put(0, 1)
    scans = [segment(0xDA, scan) + bits.data("1").replace(b"\xff", b"\xff\0")]
    # the other coefficients of a progressive file: a scan a component, in which every block ends at once
    for part in parts if progressive else b"":
        ends = Bits(high=True)
        ends.put(0, rows * columns)
        scans.append(segment(0xDA, bytes([1, part, 0, 1, 63, 0])) + ends.data("1"))
    return b"\xff\xd8" + b"".join(padding + part for part in [*extra, *tables, *scans, b"\xff\xd9"])


def multi_picture(first: bytes, second: bytes) -> bytes:
    """Two JPEGs in one file, as phones write a photograph and its preview (CIPA DC-007)."""
    size = 4 + 4 + 8 + 2 + 3 * 12 + 4 + 32  # marker, "MPF", head, the directory of three entries, two pictures
    length = len(first) + size
    entries = struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, 2)
    entries += struct.pack("<HHII", 0xB002, 7, 32, 8 + 2 + 3 * 12 + 4)
    pictures = struct.pack("<IIIHH", 0x030000, length, 0, 0, 0)
    pictures += struct.pack("<IIIHH", 0, len(second), length - 2 - 4 - 4, 0, 0)
    body = b"MPF\0II*\0\x08\0\0\0" + struct.pack("<H", 3) + entries + b"\0\0\0\0" + pictures
    return first[:2] + segment(0xE2, body) + first[2:] + second


def gif(frames: int, value: int = 1) -> bytes:
    """A 1x1 GIF of so many frames; colours 0 = (0, 0, 0), 1 = (10, 20, 30)."""
    code = Bits(high=False)
    for number in (4, value, 5):  # clear, the pixel, end
        code.put(number, 3)
    data = code.data("0")
    frame = b"\x2c\0\0\0\0\x01\0\x01\0\0\x02" + bytes([len(data)]) + data + b"\0"
    return b"GIF89a\x01\0\x01\0\x80\0\0" + bytes([0, 0, 0, 10, 20, 30]) + frame * frames + b"\x3b"


def webp(width: int, height: int, colour: tuple[int, int, int], frames: int = 1) -> bytes:
    """A lossless WebP of one colour (WebP Lossless Bitstream: five codes of one symbol each, so no bit a pixel)."""
    bits = Bits(high=False)
    for value, count in ((0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1)):
        bits.put(value, count)
    red, green, blue = colour
    for symbol in (green, red, blue, 255, 0):
        for value, count in ((1, 1), (0, 1), (1, 1), (symbol, 8)):
            bits.put(value, count)
    image = _riff(b"VP8L", bits.data("0"))
    if frames == 1:
        return _riff(b"RIFF", b"WEBP" + image)
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = _riff(b"VP8X", b"\x02\0\0\0" + size) + _riff(b"ANIM", b"\0\0\0\0\0\0")
    body += _riff(b"ANMF", bytes(6) + size + b"\x64\0\0\0" + image) * frames
    return _riff(b"RIFF", b"WEBP" + body)


def _riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def bmp(values: np.ndarray, palette: bytes = b"") -> bytes:
    """A 24-bit BMP of (h, w, 3), or an 8-bit one of (h, w) with a palette of 4 bytes a colour."""
    height, width = values.shape[:2]
    depth = 24 if values.ndim == 3 else 8
    lines = (values[..., ::-1] if depth == 24 else values)[::-1].reshape(height, -1).astype(np.uint8)
    data = b"".join(line.tobytes() + bytes(-line.size % 4) for line in lines)
    offset = 54 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, 0, len(data), 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + palette + data


def tiff(
    values: np.ndarray,
    photometric: int,
    pages: int = 1,
    orientation: int | None = None,
    kind: int = 1,
    bits: int | None = None,
    stream: bytes = b"",
) -> bytes:
    """A TIFF of (h, w) or (h, w, samples); `photometric` 1 grey, 2 RGB, 3 palette, 5 CMYK.

    `kind` 1 is unsigned, 2 signed, 3 floating-point. Values of less than 8 `bits` are packed.
    They are stored as they are, or as the JPEG `stream`.
    """
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else values.shape[2]
    depth, data = bits or values.dtype.itemsize * 8, values.tobytes()
    if bits:
        data = np.packbits(np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(height, -1), axis=1).tobytes()
    data, codec = stream or data, 7 if stream else 1
    out = b"II*\0"
    for page in range(pages):
        tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, depth), (259, 3, 1, codec)]
        tags += [(262, 3, 1, photometric)]
        start = len(out) + 4
        extra = struct.pack(f"<{samples}H", *[depth] * samples) if samples > 2 else b""
        palette = struct.pack("<768H", *(v * 257 for v in range(256)), *bytes(512)) if photometric == 3 else b""
        if extra:
            tags[2] = (258, 3, samples, start + len(data))
        tags += [(273, 4, 1, start)] + ([(274, 3, 1, orientation)] if orientation else [])
        tags += [(277, 3, 1, samples), (278, 3, 1, height), (279, 4, 1, len(data))]
        tags += [(320, 3, 768, start + len(data))] if palette else []
        tags += [(339, 3, 1, kind)] if kind != 1 else []
        body = data + extra + palette
        body += bytes(len(body) % 2)
        # the link to this directory stands at the end of what is written so far, before its data
        out += struct.pack("<I", start + len(body)) + body + struct.pack("<H", len(tags))
        out += b"".join(struct.pack("<HHII", *tag) for tag in tags)
        if page == pages - 1:
            out += b"\0\0\0\0"
    return out
