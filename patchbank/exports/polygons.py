"""Borders of masks as polygons along the edges of pixels: exact, or simplified within a tolerance and still valid.

A pixel (row r, column c) is the square from (c, r) to (c + 1, r + 1); a ring is an array (n, 2) of x, y corners, its
last corner joined to its first. The exterior runs clockwise on the screen (y points down), holes the other way, so
that the shoelace area in x, y is positive for the one and negative for the others.

Pieces are 4-connected. Where two pixels meet at a corner only, the border turns so that it keeps to the background: no
ring then meets itself, and every polygon is valid in the sense of OGC Simple Features (rings may touch at points).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Ring = NDArray[np.float64]
Mask = NDArray[np.bool_]

EXACT = 0.5
"""Tolerance in pixels from which on a polygon that cannot be simplified stays exact."""
PAIRS = 1 << 20
"""Pairs of edges that are compared at a time."""


@dataclass(frozen=True, eq=False)
class Polygon:
    """One piece of a mask: its exterior ring and its holes."""

    exterior: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The exterior, then the holes."""
        return (self.exterior, *self.holes)


def pieces(mask: Mask) -> list[tuple[int, int, Mask]]:
    """The 4-connected pieces of a mask (H, W): top row, left column and mask (h, w) of each, in reading order."""
    labels, _ = ndimage.label(mask)
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        found.append((rows.start, columns.start, labels[rows, columns] == number))
    return found


def trace(mask: Mask) -> Polygon:
    """The border of a mask (H, W) that is one 4-connected piece.

    Raises:
        ValueError: a mask of no piece, or of several.
    """
    found = _rings(mask)
    outside = [ring for ring in found if area(ring) > 0]
    if len(outside) != 1:
        raise ValueError(f"the mask has {len(outside)} pieces, not one.")
    return Polygon(outside[0], tuple(ring for ring in found if area(ring) < 0))


def polygons(mask: Mask, tolerance: float = 0.0, top: int = 0, left: int = 0) -> list[Polygon]:
    """Polygons of all pieces of a mask.

    Args:
        mask: (H, W) bool.
        tolerance: pixels that a simplified border may lie off; 0 keeps it exact.
        top, left: where the mask begins in its picture.
    """
    found = []
    for row, column, piece in pieces(mask):
        simple = simplify(trace(piece), tolerance)
        shift = np.array([left + column, top + row], dtype=np.float64)
        found.append(Polygon(simple.exterior + shift, tuple(hole + shift for hole in simple.holes)))
    return found


def without_holes(mask: Mask) -> list[tuple[int, int, Mask]]:
    """A mask as pieces that have no hole, for formats that know no holes: cut downwards through each hole's middle."""
    done, waiting = [], pieces(mask)
    while waiting:
        top, left, piece = waiting.pop()
        holes = ndimage.binary_fill_holes(piece) & ~piece
        if not holes.any():
            done.append((top, left, piece))
            continue
        columns = np.flatnonzero(holes.any(0))
        cut = int(columns[len(columns) // 2]) or 1
        for start, part in ((0, piece[:, :cut]), (cut, piece[:, cut:])):
            waiting += [(top + y, left + start + x, inner) for y, x, inner in pieces(part)]
    return sorted(done, key=lambda item: item[:2])


def area(ring: Ring) -> float:
    """Signed area of a ring by the shoelace rule."""
    x, y = ring[:, 0], ring[:, 1]
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _rings(mask: Mask) -> list[Ring]:
    """All rings of a mask. Directions: 0 east, 1 south, 2 west, 3 north; the mask lies to the right of each edge."""
    padded = np.pad(mask, 1)
    above, below = padded[:-1, 1:-1], padded[1:, 1:-1]
    before, behind = padded[1:-1, :-1], padded[1:-1, 1:]
    width = mask.shape[1] + 1
    keys = []
    for direction, present, (down, right) in (
        (0, below & ~above, (0, 0)),
        (1, before & ~behind, (0, 0)),
        (2, above & ~below, (0, 1)),
        (3, behind & ~before, (1, 0)),
    ):
        rows, columns = np.nonzero(present)
        keys.append(((rows + down) * width + columns + right) * 4 + direction)
    edges = np.sort(np.concatenate(keys))
    return rings_of(edges, width, successors(edges, width, left=True))[0]


def successors(edges: NDArray[np.int64], width: int, left: bool) -> NDArray[np.int64]:
    """Which edge follows each.

    Args:
        edges: (row x `width` + column) x 4 + direction of the corner that each begins at, ascending.
        width: columns of corners.
        left: where two go on, to the left, so that the border keeps to the background; else it keeps to its piece.
    """
    directions = edges % 4
    ends = edges // 4 + np.array([1, width, -1, -width])[directions]
    following = np.full(len(edges), -1)
    for turn in (1, 0, -1) if left else (-1, 0, 1):  # the last one that is there wins
        wanted = ends * 4 + (directions + turn) % 4
        position = np.minimum(np.searchsorted(edges, wanted), len(edges) - 1)
        following = np.where(edges[position] == wanted, position, following)
    return following


def rings_of(
    edges: NDArray[np.int64], width: int, following: NDArray[np.int64]
) -> tuple[list[Ring], NDArray[np.int64]]:
    """The rings that edges make, in the order of their first edges, and the number of each edge's ring."""
    directions = edges % 4
    corners = directions != directions[_inverse(following)]
    vertices = np.stack([edges // 4 % width, edges // 4 // width], axis=1).astype(np.float64)
    found, owner = _walk(following.tolist(), corners.tolist())
    return [vertices[ring] for ring in found], owner


def _inverse(order: NDArray[np.int64]) -> NDArray[np.int64]:
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return inverse


def _walk(following: list[int], corners: list[bool]) -> tuple[list[list[int]], NDArray[np.int64]]:
    """The cycles of a permutation, each as those of its members that are corners, and the cycle of each member."""
    owner, found = array("q", [-1]) * len(following), list[list[int]]()
    for start in range(len(following)):
        if owner[start] >= 0:
            continue
        ring, current = list[int](), start
        while owner[current] < 0:
            owner[current] = len(found)
            if corners[current]:
                ring.append(current)
            current = following[current]
        found.append(ring)
    return found, np.frombuffer(owner, dtype=np.int64)


def simplify(polygon: Polygon, tolerance: float) -> Polygon:
    """A polygon with fewer corners, valid, no original corner further than `tolerance` from its border.

    Ramer-Douglas-Peucker (Douglas and Peucker 1973) on each ring; where rings would cross, half the tolerance is
    tried, and below half a pixel the polygon stays as it is. A ring that would collapse stays as it is, too.
    """
    while tolerance >= EXACT:
        simple = Polygon(*_split([_thin(ring, tolerance) for ring in polygon.rings]))
        if _valid(simple):
            return simple
        tolerance /= 2
    return polygon


def _split(rings: list[Ring]) -> tuple[Ring, tuple[Ring, ...]]:
    return rings[0], tuple(rings[1:])


def _thin(ring: Ring, tolerance: float) -> Ring:
    """The corners of a ring that Ramer-Douglas-Peucker keeps; the ring itself where fewer than three would be left."""
    far = int(((ring - ring[0]) ** 2).sum(1).argmax())
    closed = np.concatenate([ring, ring[:1]])
    keep = np.zeros(len(closed), dtype=np.bool_)
    keep[[0, far]] = True
    stack = [(0, far), (far, len(ring))]
    while stack:
        start, stop = stack.pop()
        if stop - start < 2:
            continue
        distances = _distances(closed[start + 1 : stop], closed[start], closed[stop])
        worst = int(distances.argmax())
        if distances[worst] > tolerance:
            middle = start + 1 + worst
            keep[middle] = True
            stack += [(start, middle), (middle, stop)]
    thin: Ring = ring[keep[:-1]]
    return thin if len(thin) >= 3 and area(thin) * area(ring) > 0 else ring


def _distances(points: Ring, start: Ring, stop: Ring) -> NDArray[np.float64]:
    """Distance of points (n, 2) from the stretch between two others."""
    along = stop - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1)[:, None] if length else np.zeros((len(points), 1))
    distances: NDArray[np.float64] = np.linalg.norm(points - start - share * along, axis=1)
    return distances


def _valid(polygon: Polygon) -> bool:
    """Whether no two edges cross or overlap, holes lie inside the exterior, and no hole inside another."""
    starts = np.concatenate(polygon.rings)
    stops = np.concatenate([np.roll(ring, -1, axis=0) for ring in polygon.rings])
    number = np.repeat(np.arange(len(polygon.rings)), [len(ring) for ring in polygon.rings])
    step = max(1, PAIRS // len(starts))
    for first in range(0, len(starts), step):
        if _meeting(starts, stops, number, slice(first, first + step)):
            return False
    if not all(_inside(hole, polygon.exterior).all() for hole in polygon.holes):
        return False
    return not any(
        _inside(polygon.holes[one], polygon.holes[other], False).any() for one, other in _near(polygon.holes)
    )


def _near(rings: tuple[Ring, ...]) -> Iterator[tuple[int, int]]:
    """Ordered pairs of different rings whose boxes meet: no other ring has a corner in the second."""
    if not rings:
        return
    low, high = np.stack([ring.min(0) for ring in rings]), np.stack([ring.max(0) for ring in rings])
    for one in range(len(rings)):
        meeting = ((low <= high[one]) & (low[one] <= high)).all(1)
        meeting[one] = False
        for other in np.flatnonzero(meeting):
            yield one, int(other)


def _meeting(starts: Ring, stops: Ring, number: NDArray[np.int64], some: slice) -> bool:
    """Whether an edge of `some` meets another where it must not: at a point inside one, or at a corner of its ring."""
    a, b = starts[some, None], stops[some, None]
    c, d = starts[None], stops[None]
    ab, cd = b - a, d - c
    sides = [_cross(ab, c - a), _cross(ab, d - a), _cross(cd, a - c), _cross(cd, b - c)]
    apart = (np.maximum(a, b) < np.minimum(c, d)).any(-1) | (np.maximum(c, d) < np.minimum(a, b)).any(-1)
    meet = ~apart & (sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0)
    index, other = np.nonzero(meet)
    a, b, c, d = a[index, 0], b[index, 0], c[0, other], d[0, other]
    index = index + some.start
    same_edge = index == other
    next_to = ((b == c).all(1) | (a == d).all(1)) & (number[index] == number[other])
    back = next_to & (_cross(b - a, d - c) == 0) & (((b - a) * (d - c)).sum(1) < 0)
    corner = (a == c).all(1) | (a == d).all(1) | (b == c).all(1) | (b == d).all(1)
    touching = corner & (number[index] != number[other]) & (_cross(b - a, d - c) != 0)
    return bool((back | ~(same_edge | next_to | touching)).any())


def _cross(a: Ring, b: Ring) -> NDArray[np.float64]:
    product: NDArray[np.float64] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def _inside(points: Ring, ring: Ring, corners: bool = True) -> NDArray[np.bool_]:
    """Which points (n, 2) lie in a ring (even-odd rule); a point that is a corner of the ring counts as `corners`."""
    x, y = points[:, :1], points[:, 1:]
    following = np.roll(ring, -1, axis=0)
    crosses = (ring[:, 1] > y) != (following[:, 1] > y)
    rise = np.where(following[:, 1] == ring[:, 1], 1.0, following[:, 1] - ring[:, 1])
    left = x < ring[:, 0] + (y - ring[:, 1]) / rise * (following[:, 0] - ring[:, 0])
    inside: NDArray[np.bool_] = (crosses & left).sum(1) % 2 == 1
    shared = (points[:, None] == ring[None]).all(-1).any(1)
    return np.where(shared, corners, inside)
