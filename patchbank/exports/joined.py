"""Labels of rasters that were cut into tiles (`patchbank.datasets.tiles`): those of the tiles, side by side.

A raster is one picture again, of its own size and place on the map. One row of tiles is in memory at a time; a tile
that has no labels (one of another split) has none here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from patchbank.datasets.geo import read_geo
from patchbank.datasets.listing import relative
from patchbank.datasets.raster import LARGE, tiff_size
from patchbank.datasets.tiles import Tile, tile_of
from patchbank.errors import UserError
from patchbank.exports.source import NONE, Labels, Large, Picture
from patchbank.inference.rasters import ROWS

Read = Callable[[int, tuple[int, int]], Labels]
"""Labels (H, W) of a tile: its row of the predictions, and its size."""


def split(root: Path, files: Sequence[str]) -> tuple[dict[str, int], dict[str, dict[Tile, int]]]:
    """Places of pictures below `root` in a list, and of the tiles of rasters by raster."""
    whole: dict[str, int] = {}
    rasters: dict[str, dict[Tile, int]] = {}
    for place, file in enumerate(files):
        raster, tile = tile_of(root / file)
        if tile is None:
            whole[file] = place
        else:
            rasters.setdefault(relative(root, raster), {})[tile] = place
    return whole, rasters


def join(
    path: Path,
    name: str,
    file: str,
    tiles: Mapping[Tile, int],
    sizes: Sequence[tuple[int, int]],
    opened: Callable[[], AbstractContextManager[Read]],
) -> Picture:
    """The labels of one raster.

    Args:
        path: of the raster.
        name: of the picture's outputs.
        file: of the raster in its folder.
        tiles: row of the predictions of each tile.
        sizes: (width, height) of each row of the predictions when it was predicted.
        opened: entered whenever labels are asked for.

    Raises:
        UserError: the raster is not there any more, or has another size.
    """
    size = tiff_size(path)
    if size is None:
        raise UserError(f"{path} cannot be read any more, and {len(tiles)} tiles of it were predicted; put it back.")

    for tile, row in tiles.items():
        left, top, right, bottom = tile.box(size)
        if (right - left, bottom - top) != sizes[row]:
            raise UserError(f"{path} ({size[0]}x{size[1]}) changed since it was predicted; run again.")

    def bands() -> Iterator[Labels]:
        with opened() as read:
            yield from _even(_bands(size, tiles, read))

    large = Large(size[::-1], bands)
    if size[0] * size[1] > LARGE:
        return Picture(name, file, NONE, read_geo(path), large)
    labels, top = np.empty(large.shape, dtype=np.int32), 0  # half of int64, and no second copy
    with opened() as read:
        for band in _bands(size, tiles, read):
            labels[top : top + len(band)] = band
            top += len(band)
    return Picture(name, file, labels, read_geo(path))


def _bands(size: tuple[int, int], tiles: Mapping[Tile, int], read: Read) -> Iterator[Labels]:
    """Labels of each row of tiles, (rows, W), from top to bottom."""
    first = next(iter(tiles))
    for row in range(first.rows):
        _, top, _, bottom = Tile(row, 0, first.rows, first.columns).box(size)
        band = np.full((bottom - top, size[0]), -1, dtype=np.int64)
        for column in range(first.columns):
            tile = Tile(row, column, first.rows, first.columns)
            if tile in tiles:
                left, _, right, _ = tile.box(size)
                band[:, left:right] = read(tiles[tile], (bottom - top, right - left))
        yield band


def _even(bands: Iterator[Labels]) -> Iterator[Labels]:
    """The same rows in bands of `ROWS`, but for the last one."""
    waiting: list[Labels] = []
    for band in bands:
        waiting.append(band)
        if sum(map(len, waiting)) < ROWS:
            continue
        rows = np.concatenate(waiting)
        whole = len(rows) // ROWS * ROWS
        for top in range(0, whole, ROWS):
            yield rows[top : top + ROWS]
        waiting = [rows[whole:]]
    rest = np.concatenate(waiting)
    if len(rest):
        yield rest
