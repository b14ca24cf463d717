"""Whether a PNG holds all of its rows: Pillow leaves missing ones black and says nothing.

PNG specification (third edition), sections 7 to 10: a row is a filter byte and the packed samples; an interlaced
picture is seven smaller ones (Adam7), of which empty ones are left out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel by colour type."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, step of columns, step of rows of each pass."""
BLOCK = 1 << 20


def data_problem(data: bytes) -> str:
    """What is wrong with the pixel data of a file that Pillow decodes; "" for a whole PNG, and for any other format."""
    if not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        return ""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    bits = depth * SAMPLES[colour]
    parts = [(width, height)]
    if interlaced:
        parts = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in ADAM7]
    expected = sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in parts if columns > 0 and rows > 0)
    try:
        inflated = _inflated(data)
    except zlib.error as error:
        return f"its rows do not unpack: {error}"
    return f"{expected - inflated:,} of {expected:,} bytes of its rows are missing" if inflated < expected else ""


def _inflated(data: bytes) -> int:
    """Bytes that the pixel data unpack to, counted block by block."""
    stream, total = zlib.decompressobj(), 0
    for body in _pixel_data(data):
        rest = body
        while rest and not stream.eof:
            total += len(stream.decompress(rest, BLOCK))
            rest = stream.unconsumed_tail
    return total + len(stream.flush())


def _pixel_data(data: bytes) -> Iterator[bytes]:
    """The bodies of the IDAT chunks."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        at += 12 + length
