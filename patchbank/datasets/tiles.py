"""Tiles: windows of a TIFF that are pictures of a set, each with a name of its own.

`ortho.tif` cut into 45 rows of 67 tiles is 3,015 pictures, `ortho.r01of45.c01of67.tif` to `ortho.r45of45.c67of67.tif`.
No file has these names; they are those of a set's pictures, in its manifest, bank, counts and pages, and the file of
each tile's pixels is the raster (`patchbank segment` takes rasters, not tiles). Sides are divided evenly: tiles differ
by one pixel at most, none is narrow, none overlaps, and their patch grids, side by side, are one grid over the raster.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.formats import without_suffix

_TILE = re.compile(r"(.+)\.r(\d+)of(\d+)\.c(\d+)of(\d+)", re.DOTALL)
Box = tuple[int, int, int, int]


@dataclass(frozen=True, order=True)
class Tile:
    """Which tile of a raster, counted from 0.

    Attributes:
        row: from the top.
        column: from the left.
        rows: of tiles.
        columns: of tiles.
    """

    row: int
    column: int
    rows: int
    columns: int

    def box(self, size: tuple[int, int]) -> Box:
        """Pixels left, top, right, bottom (the last two exclusive) in a raster of size (width, height).

        Example:
            >>> Tile(0, 1, 1, 3).box((10, 5))
            (3, 0, 6, 5)
        """
        (left, right), (top, bottom) = _part(self.column, self.columns, size[0]), _part(self.row, self.rows, size[1])
        return left, top, right, bottom

    def name(self, path: Path) -> Path:
        """The name of this tile of the raster at `path`."""
        stem, wide = without_suffix(path.name), len(str(max(self.rows, self.columns)))
        parts = [(self.row, self.rows), (self.column, self.columns)]
        row, column = (f"{number + 1:0{wide}d}of{count:0{wide}d}" for number, count in parts)
        return path.with_name(f"{stem}.r{row}.c{column}{path.name[len(stem) :]}")


def tiles_of(size: tuple[int, int], side: int) -> list[Tile]:
    """The tiles of about `side` x `side` pixels of a raster of size (width, height), row by row."""
    columns, rows = (max(1, round(length / side)) for length in size)
    return [Tile(row, column, rows, columns) for row in range(rows) for column in range(columns)]


def tile_of(path: Path) -> tuple[Path, Tile | None]:
    """The raster of the tile that `path` names, and which it is; `path` and None for every other name.

    A file that has such a name of its own is that file.
    """
    stem = without_suffix(path.name)
    match = _TILE.fullmatch(stem)
    if match is None or os.path.lexists(path):
        return path, None
    row, rows, column, columns = (int(number) for number in match.groups()[1:])
    tile, raster = Tile(row - 1, column - 1, rows, columns), path.with_name(match[1] + path.name[len(stem) :])
    real = 0 < row <= rows and 0 < column <= columns and tile.name(raster).name == path.name
    return (raster, tile) if real else (path, None)


def _part(number: int, count: int, length: int) -> tuple[int, int]:
    return number * length // count, (number + 1) * length // count
