"""Files that cannot be used, and what decoders raise on them."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    ArithmeticError,
    NotImplementedError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's decoders raise on broken files; there is no common base class."""


class Unusable(Exception):
    """A file that cannot be used; the text is the reason, without the file's name."""
