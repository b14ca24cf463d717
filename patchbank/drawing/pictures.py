"""Which pictures are shown, at which size, under which name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from patchbank.datasets.manifest import Entry

T = TypeVar("T")
WIDTH = 400
"""Width and largest height of a picture in pixels."""


THIN = 16
"""Smallest side of a shown picture in pixels: one that is many times as long as it is high would be a hairline."""


def choose(entries: Sequence[Entry], count: int) -> list[Entry]:
    """`count` entries spread evenly over the list (`spread`)."""
    return spread(entries, count)


def spread(items: Sequence[T], count: int) -> list[T]:
    """`count` items spread evenly over the list, the middle one of each of `count` equal parts; all where fewer."""
    count = min(count, len(items))
    return [items[(2 * index + 1) * len(items) // (2 * count)] for index in range(count)]


def fit(width: int, height: int, side: int = WIDTH) -> tuple[int, int]:
    """(width, height) that fits into a square of `side`, in the picture's proportions where no side is below `THIN`."""
    scale = side / max(width, height)
    return max(THIN, round(width * scale)), max(THIN, round(height * scale))


def shorten(name: str, length: int = 44) -> str:
    """A file name of at most `length` characters, its middle left out where it is longer."""
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[:half]}…{name[-half:]}"
