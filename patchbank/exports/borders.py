"""Polygons of label maps that are too large to be in memory: from their borders, which are gathered in bands of rows.

The same polygons as `patchbank.exports.polygons.polygons` makes of each category's mask. Memory: the borders.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from patchbank.exports.polygons import Polygon, Ring, area, rings_of, successors
from patchbank.exports.source import Labels, Large

EAST, SOUTH, WEST, NORTH = range(4)
"""Directions of edges; the category lies to the right of each."""
Edges = NDArray[np.int64]
"""Edges of a category: (row x (W + 1) + column) x 4 + direction of the corner that each begins at, ascending."""


def large_polygons(large: Large) -> Iterator[tuple[int, list[Polygon]]]:
    """Every category that occurs in a raster, and the polygons of its 4-connected pieces in reading order."""
    for category, edges in sorted(borders(large).items()):
        yield category, assembled(edges, large.shape[1] + 1)


def borders(large: Large) -> dict[int, Edges]:
    """The edges of each category of a raster."""
    width = large.shape[1] + 1
    gathered: dict[int, list[Edges]] = {}
    above = np.full((1, large.shape[1]), -1, dtype=np.int64)
    top = 0
    for band in large.bands():
        _gather(gathered, _across(np.concatenate([above, band]), top, width))
        _gather(gathered, _along(band, top, width))
        above, top = band[-1:], top + len(band)
    _gather(gathered, _across(np.concatenate([above, np.full_like(above, -1)]), top, width))
    return {category: np.sort(np.concatenate(parts)) for category, parts in gathered.items()}


def pixels(polygon: Polygon) -> int:
    """Pixels of a piece, from its exact border."""
    return round(sum(area(ring) for ring in polygon.rings))


def _across(rows: Labels, top: int, width: int) -> Iterator[tuple[Labels, Edges]]:
    """Categories and edges of the lines between rows; the first line has the number `top`."""
    above, below = rows[:-1], rows[1:]
    line, column = np.nonzero(above != below)
    corner = (line + top) * width + column
    yield below[line, column], corner * 4 + EAST
    yield above[line, column], (corner + 1) * 4 + WEST


def _along(rows: Labels, top: int, width: int) -> Iterator[tuple[Labels, Edges]]:
    """Categories and edges of the lines between columns of rows that begin with the number `top`."""
    padded = np.pad(rows, ((0, 0), (1, 1)), constant_values=-1)
    before, behind = padded[:, :-1], padded[:, 1:]
    row, line = np.nonzero(before != behind)
    corner = (row + top) * width + line
    yield before[row, line], corner * 4 + SOUTH
    yield behind[row, line], (corner + width) * 4 + NORTH


def _gather(gathered: dict[int, list[Edges]], found: Iterable[tuple[Labels, Edges]]) -> None:
    for labels, edges in found:
        for category in np.unique(labels[labels >= 0]):
            gathered.setdefault(int(category), []).append(edges[labels == category])


def assembled(edges: Edges, width: int) -> list[Polygon]:
    """Polygons of the edges of a category; `width` is the number of columns of corners."""
    tight = successors(edges, width, left=False)
    piece = _pieces(edges, width, tight)
    # where a piece meets itself at a corner its border keeps to the background, where two pieces meet it does not
    wide = successors(edges, width, left=True)
    rings, owner = rings_of(edges, width, np.where(piece == piece[wide], wide, tight))
    first = np.unique(owner, return_index=True)[1]
    exteriors: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for ring, number in zip(rings, piece[first].tolist(), strict=True):
        if area(ring) > 0:
            exteriors[number] = ring
        else:
            holes.setdefault(number, []).append(ring)
    return [Polygon(ring, tuple(holes.get(number, ()))) for number, ring in exteriors.items()]


def _pieces(edges: Edges, width: int, following: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the 4-connected piece that each edge belongs to: that of its exterior ring."""
    rings, owner = rings_of(edges, width, following)
    piece_of = {number: number for number, ring in enumerate(rings) if area(ring) > 0}
    direction, corner = edges % 4, edges // 4
    upright = np.flatnonzero((direction == SOUTH) | (direction == NORTH))
    # place of the pixel to the right of each upright edge, in rows of corners
    place = corner[upright] - np.where(direction[upright] == NORTH, width, 0)
    order = np.argsort(place, kind="stable")
    place, upright = place[order], upright[order]
    for number, edge in _tops(owner, direction, set(piece_of)):
        above = int(corner[edge]) - 1 - width  # the pixel above the top of the hole, which is the piece's
        nearest = upright[np.searchsorted(place, above, side="right") - 1]
        piece_of[number] = piece_of[int(owner[nearest])]  # of a hole that begins further up it is known
    return np.array([piece_of[number] for number in range(len(rings))], dtype=np.int64)[owner]


def _tops(owner: NDArray[np.int64], direction: Edges, exteriors: set[int]) -> list[tuple[int, int]]:
    """Every ring that is a hole with the edge at its top, from top to bottom."""
    west = np.flatnonzero(direction == WEST)
    numbers, first = np.unique(owner[west], return_index=True)
    found = [
        (int(number), int(west[index]))
        for number, index in zip(numbers, first, strict=True)
        if int(number) not in exteriors
    ]
    return sorted(found, key=lambda pair: pair[1])
