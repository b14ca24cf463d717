"""Map coordinates of a GeoTIFF: its tags, carried along as they are, and what they say of pixels.

The tags of the GeoTIFF standard (OGC 19-008r4) place the raster and name its coordinate system:

| tag | name | content |
|---|---|---|
| 33550 | ModelPixelScale | width, height (and depth) of a pixel in the map's units |
| 33922 | ModelTiepoint | a raster point and its map point |
| 34264 | ModelTransformation | 4 x 4 matrix from raster to map, instead of the two above |
| 34735, 34736, 34737 | GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams | the coordinate system |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from patchbank.datasets.pages import directories, located
from patchbank.datasets.tiff import ERRORS
from patchbank.datasets.tiles import tile_of

SCALE, TIEPOINT, MATRIX, KEYS, DOUBLES, TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
TAGS = (SCALE, TIEPOINT, MATRIX, KEYS, DOUBLES, TEXTS)
RASTER_TYPE, GEOGRAPHIC, PROJECTED = 1025, 2048, 3072
"""GeoKeys: whether a raster point is a pixel's corner (1) or centre (2), and the EPSG codes of the two kinds."""
USER_DEFINED = 32767
TYPES = {SCALE: 12, TIEPOINT: 12, MATRIX: 12, DOUBLES: 12, KEYS: 3, TEXTS: 2}
"""TIFF types of the tags: 12 double, 3 short, 2 text."""
Affine = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Geo:
    """The geographic tags of one raster.

    Attributes:
        tags: values of those of `TAGS` that are there: numbers, text for 34737.
    """

    tags: Mapping[int, tuple[float, ...] | str]

    @property
    def affine(self) -> Affine:
        """(a, b, c, d, e, f): the corner (x, y) of pixels lies at (a x + b y + c, d x + e y + f) on the map."""
        matrix, tie, scale = (self.tags.get(tag) for tag in (MATRIX, TIEPOINT, SCALE))
        if matrix is not None:
            a, b, _, c, d, e, _, f = (float(value) for value in matrix[:8])
        else:
            assert tie is not None  # `make_geo` sees to it
            assert scale is not None
            a, b, d, e = float(scale[0]), 0.0, 0.0, -float(scale[1])
            c, f = float(tie[3]) - a * float(tie[0]), float(tie[4]) - e * float(tie[1])
        if self._key(RASTER_TYPE) == 2:  # raster points are centres of pixels
            c, f = c - (a + b) / 2, f - (d + e) / 2
        return a, b, c, d, e, f

    @property
    def epsg(self) -> int | None:
        """EPSG code of the coordinate system, None where it is none of the registry."""
        code = self._key(PROJECTED) or self._key(GEOGRAPHIC)
        return None if code in (None, 0, USER_DEFINED) else code

    def _key(self, wanted: int) -> int | None:
        """Value of a GeoKey that is a number of its own."""
        numbers = [int(value) for value in self.tags.get(KEYS, ())]
        for start in range(4, len(numbers) - 3, 4):
            key, where, _, value = numbers[start : start + 4]
            if key == wanted and where == 0:
                return value
        return None

    def to_map(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map coordinates (n, 2) of raster points (n, 2) x, y, corners of pixels being whole numbers."""
        a, b, c, d, e, f = self.affine
        x, y = points[:, 0], points[:, 1]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)

    def moved(self, x: int, y: int) -> Geo:
        """The geography of a part that begins at pixel (x, y)."""
        tags = dict(self.tags)
        if MATRIX in tags:
            matrix = [float(value) for value in tags[MATRIX]]
            for row in (0, 4):
                matrix[row + 3] += matrix[row] * x + matrix[row + 1] * y
            tags[MATRIX] = tuple(matrix)
        if TIEPOINT in tags:
            tie = [float(value) for value in tags[TIEPOINT]]
            tags[TIEPOINT] = (tie[0] - x, tie[1] - y, *tie[2:])
        return Geo(tags)

    def to_text(self) -> str:
        """The tags as JSON."""
        return json.dumps({str(tag): value for tag, value in sorted(self.tags.items())})


def make_geo(tags: Mapping[int, object]) -> Geo | None:
    """The geography of a raster from the values of its tags; None where they do not place it.

    Rasters that are placed by several tie points alone have no one transformation, and count as not placed.
    """
    kept: dict[int, tuple[float, ...] | str] = {}
    for tag in TAGS:
        value = tags.get(tag)
        if isinstance(value, str):
            kept[tag] = value.rstrip("\0")
        elif isinstance(value, list | tuple) and value:
            kept[tag] = tuple(float(number) if tag not in (KEYS,) else int(number) for number in value)
        elif isinstance(value, int | float):  # a tag of one value
            kept[tag] = (float(value),)
    matrix, scale, tie = (len(kept.get(tag, ())) for tag in (MATRIX, SCALE, TIEPOINT))
    return Geo(kept) if matrix >= 8 or (scale >= 2 and tie >= 6) else None


def geo_of_text(text: str | None) -> Geo | None:
    """What `Geo.to_text` wrote; None for no text."""
    return None if text is None else make_geo({int(tag): value for tag, value in json.loads(text).items()})


def read_geo(path: str | Path) -> Geo | None:
    """The geography of a picture file, page or tile, None for a file that is no TIFF or is placed nowhere."""
    tile = tile_of(Path(path))[1]
    path, number = located(path)
    try:
        with path.open("rb") as opened:
            position = directories(opened)[number - 1] if number else 0
            opened.seek(0)
            page = tifffile.TiffFile(opened).pages[position]
            assert isinstance(page, tifffile.TiffPage)
            tags = page.tags
            geo = make_geo({tag: tags[tag].value for tag in TAGS if tag in tags})
            if geo is None or tile is None:
                return geo
            return geo.moved(*tile.box((page.imagewidth, page.imagelength))[:2])
    except ERRORS:  # no TIFF, or one whose header is broken: it is placed nowhere
        return None


def extra_tags(geo: Geo | None) -> list[tuple[int, int, int, Any, bool]]:
    """The tags as tifffile takes them: number, type, count, values, once."""
    if geo is None:
        return []
    return [
        (tag, TYPES[tag], 0 if isinstance(value, str) else len(value), value, True)
        for tag, value in sorted(geo.tags.items())
    ]
