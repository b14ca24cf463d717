"""GeoTIFF masks with a palette: where the picture was a GeoTIFF, at its place on the map.

Beside each mask lies `<name>.tif.aux.xml` with the classes' names, which GDAL and QGIS read, and one `classes.json` for
all. 255 (of more than 255 categories: 65,535) is the no-data value.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import tifffile

from patchbank.datasets.geo import DOUBLES, KEYS, MATRIX, SCALE, TEXTS, TIEPOINT, Geo
from patchbank.exports.formats import FormatOptions, file_of
from patchbank.exports.formats.png import write_classes
from patchbank.exports.regions import Taken

HELP = "<name>.tif masks with palette and the picture's map coordinates (QGIS, GDAL, rasterio)"
NO_DATA = 42113
"""GDAL's tag of the no-data value, as text."""
TYPES = {SCALE: 12, TIEPOINT: 12, MATRIX: 12, DOUBLES: 12, KEYS: 3, TEXTS: 2}
"""TIFF types: 12 double, 3 short, 2 text."""


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `<name>.tif`, `<name>.tif.aux.xml` and `classes.json`."""
    none = write_classes(taken, folder)
    names = "".join(f"      <Category>{escape(one.name)}</Category>\n" for one in taken.source.categories)
    about = f'<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n{names}    </CategoryNames>\n'
    about += "  </PAMRasterBand>\n</PAMDataset>\n"
    for picture in taken:
        path = file_of(folder, picture.name, ".tif.aux.xml")
        labels = np.where(picture.labels < 0, none, picture.labels)
        given: dict[str, Any] = {"photometric": "minisblack"}
        if none == 255:
            colours = np.zeros((3, 256), dtype=np.uint16)
            for number, category in enumerate(taken.source.categories):
                colours[:, number] = np.array(category.colour) * 257
            given = {"photometric": "palette", "colormap": colours}
        tifffile.imwrite(
            path.with_name(path.name.removesuffix(".aux.xml")),
            labels.astype(np.uint8 if none == 255 else np.uint16),
            compression="zlib",
            rowsperstrip=64,
            metadata=None,
            software="patchbank",
            extratags=[(NO_DATA, 2, 0, str(none), True), *_tags(picture.geo)],
            **given,
        )
        path.write_text(about, encoding="utf-8")


def _tags(geo: Geo | None) -> list[tuple[int, int, int, Any, bool]]:
    """The geographic tags as tifffile takes them: number, type, count, values, once."""
    if geo is None:
        return []
    return [
        (tag, TYPES[tag], 0 if isinstance(value, str) else len(value), value, True)
        for tag, value in sorted(geo.tags.items())
    ]
