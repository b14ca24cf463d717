"""Which scored pictures are pictures of the train split, too: what is trained there has seen them.

A picture may stand in both splits under one path, as every picture of a folder without splits does, or as a copy: the
same bytes at another path, which has another content id. Copies are looked for among files of equal size, then of
equal bytes in the middle, and read whole where those are equal, too. A picture that was written anew (scaled, or
compressed again) is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from patchbank.datasets.pages import located
from patchbank.datasets.tiles import tile_of

MIDDLE = 4096
"""Bytes in the middle of a file that are compared first."""


@dataclass(frozen=True)
class Overlap:
    """Scored pictures that are pictures of the train split, too.

    Attributes:
        listed: paths that both splits have.
        copies: other paths of the scored split, whose bytes a picture of the train split has.
    """

    listed: tuple[Path, ...] = ()
    copies: tuple[Path, ...] = ()


def overlap(train: Mapping[Path, int], scored: Mapping[Path, int]) -> Overlap:
    """Compare the pictures of both splits, by their paths with the sizes of their files in bytes.

    Raises:
        OSError: a file of a size that both splits have cannot be read.
    """

    @cache
    def middle(file: Path) -> bytes:
        with file.open("rb") as opened:
            opened.seek(max(0, sizes[file] - MIDDLE) // 2)
            return opened.read(MIDDLE)

    @cache
    def whole(file: Path) -> bytes:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").digest()

    sizes = {located(path)[0]: size for path, size in {**train, **scored}.items()}
    left, right = dict(train), {path: size for path, size in scored.items() if path not in train}
    for look in (sizes.__getitem__, middle, whole):
        left, right = _alike(left, right, look)
    return Overlap(tuple(path for path in scored if path in train), tuple(right))


def _alike(
    left: Mapping[Path, int], right: Mapping[Path, int], look: Callable[[Path], Any]
) -> tuple[dict[Path, int], dict[Path, int]]:
    """Those of each side that look like one of the other: by what `look` says of the file, and by the part of it."""

    def seen(paths: Mapping[Path, int]) -> dict[Path, Any]:
        parts = {path: (located(path), tile_of(path)[1]) for path in paths}
        return {path: (look(file), page, tile) for path, ((file, page), tile) in parts.items()}

    ours, theirs = seen(left), seen(right)
    common = set(ours.values()) & set(theirs.values())
    return (
        {path: left[path] for path, key in ours.items() if key in common},
        {path: right[path] for path, key in theirs.items() if key in common},
    )
