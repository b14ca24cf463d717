"""Files that cannot be used, and what decoders raise on them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from patchbank.errors import UserError

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


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Within, the reason why a file cannot be used is a `UserError` that names it."""
    try:
        yield
    except Unusable as reason:
        raise UserError(f"{path}: {reason}.") from None
