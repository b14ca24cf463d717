"""GeoJSON (RFC 7946): one FeatureCollection a picture, in the raster's map coordinates, else in pixels.

A feature is all of a category in the picture (MultiPolygon), or one piece of it with instances (Polygon). Its
properties are those that QuPath reads (`objectType`, `classification` with name and colour) and the plain `class` for
map tools. Coordinates of a raster that is not in longitude and latitude keep its own system, named by the member `crs`
of the 2008 standard, which GDAL and QGIS read; that name is an EPSG code, and a raster of a system without one is
refused, for its coordinates would be read as degrees. Without a map, x runs right and y down from the corner of the
picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.datasets.geo import Geo
from patchbank.errors import UserError
from patchbank.exports.borders import large_polygons, pixels
from patchbank.exports.formats import FormatOptions, compact, file_of, stream_list
from patchbank.exports.polygons import Polygon, Ring, area, polygons, simplify
from patchbank.exports.regions import Region, Taken, regions
from patchbank.exports.source import Large, Picture

HELP = "<name>.geojson a picture, polygons in map coordinates (QGIS, GDAL) or pixels (QuPath)"
OPTIONS = ("--instances", "--tolerance")
LARGE = True
WGS84 = 4326
"""EPSG code of the system that GeoJSON has without being told."""


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `<name>.geojson` of every picture; `UserError` for a raster of no EPSG code, and for a lost place."""
    for picture in taken:
        picture.check_place()
        if picture.geo is not None and picture.geo.epsg is None:
            raise UserError(
                f"{picture.file} names no coordinate system with an EPSG code, and readers of GeoJSON would take its "
                "coordinates for degrees; give --format geotiff, or label what `gdalwarp -t_srs EPSG:4326` makes of it."
            )
        features: Iterator[dict[str, Any]]
        if picture.large is None:
            found = regions(picture.labels, taken.settings.instances)
            features = (_feature(region, picture, taken) for region in found)
        else:
            features = _large(picture.large, picture, taken)
        before = f'{{"type":"FeatureCollection",{_crs(picture.geo)}"features":'
        stream_list(file_of(folder, picture.name, ".geojson"), before, features, "}\n")


def _crs(geo: Geo | None) -> str:
    code = None if geo is None else geo.epsg
    if code in (None, WGS84):
        return ""
    return f'"crs":{compact({"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}})},'


def _feature(region: Region, picture: Picture, taken: Taken) -> dict[str, Any]:
    found = polygons(region.mask, taken.settings.tolerance, region.top, region.left)
    return _as_json(region.category, found, region.area, picture, taken)


def _large(large: Large, picture: Picture, taken: Taken) -> Iterator[dict[str, Any]]:
    """The features of a raster."""
    settings = taken.settings
    for category, found in large_polygons(large):
        areas = [pixels(polygon) for polygon in found]
        kept = [place for place, size in enumerate(areas) if size >= settings.min_area]
        taken.dropped[taken.source.categories[category].name] += len(found) - len(kept)
        groups = [[place] for place in kept] if settings.instances else [kept] * bool(kept)
        for group in groups:
            shapes = [simplify(found[place], settings.tolerance) for place in group]
            yield _as_json(category, shapes, sum(areas[place] for place in group), picture, taken)


def _as_json(number: int, found: Sequence[Polygon], size: int, picture: Picture, taken: Taken) -> dict[str, Any]:
    """A feature of one category: polygons of so many pixels."""
    category = taken.source.categories[number]
    shapes = [
        [_ring(ring, picture.geo, hole=number > 0) for number, ring in enumerate(polygon.rings)] for polygon in found
    ]
    geometry: dict[str, Any] = (
        {"type": "Polygon", "coordinates": shapes[0]}
        if taken.settings.instances
        else {"type": "MultiPolygon", "coordinates": shapes}
    )
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "classification": {"name": category.name, "color": list(category.colour)},
            "class": category.name,
            "pixels": size,
        },
    }


def _ring(ring: Ring, geo: Geo | None, hole: bool) -> list[list[float]]:
    """A closed ring, an exterior counter-clockwise in its coordinates and a hole clockwise, as the standard says."""
    points = ring if geo is None else geo.to_map(ring)
    if (area(points - points[0]) < 0) != hole:
        points = points[::-1]
    closed: list[list[float]] = np.concatenate([points, points[:1]]).tolist()
    return closed
