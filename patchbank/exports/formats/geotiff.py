"""GeoTIFF masks with a palette: where the picture was a GeoTIFF, at its place on the map.

Beside each mask lies `<name>.tif.aux.xml` with the classes' names, which GDAL and QGIS read, and one `classes.json` for
all. 255 (of more than 255 categories: 65,535) is the no-data value. Rasters that are written in bands have at most 255
categories.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import tifffile

from patchbank.datasets.geo import extra_tags
from patchbank.errors import UserError
from patchbank.exports.formats import FormatOptions, file_of
from patchbank.exports.formats.png import write_classes
from patchbank.exports.regions import Taken
from patchbank.exports.source import Large, Picture
from patchbank.inference.rasters import write_labels

HELP = "<name>.tif masks with palette and the picture's map coordinates (QGIS, GDAL, rasterio)"
LARGE = True
NO_DATA = 42113
"""GDAL's tag of the no-data value, as text."""


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `<name>.tif`, `<name>.tif.aux.xml` and `classes.json`; `UserError` for a lost place."""
    none = write_classes(taken, folder)
    names = "".join(f"      <Category>{escape(one.name)}</Category>\n" for one in taken.source.categories)
    about = f'<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n{names}    </CategoryNames>\n'
    about += "  </PAMRasterBand>\n</PAMDataset>\n"
    for picture in taken:
        picture.check_place()
        path = file_of(folder, picture.name, ".tif.aux.xml")
        path.write_text(about, encoding="utf-8")
        if picture.large is not None:
            _write_large(path.with_name(path.name.removesuffix(".aux.xml")), picture, picture.large, taken)
            continue
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
            extratags=[(NO_DATA, 2, 0, str(none), True), *extra_tags(picture.geo)],
            **given,
        )


def _write_large(path: Path, picture: Picture, large: Large, taken: Taken) -> None:
    """Write the label map of a raster in bands."""
    if taken.settings.min_area > 1:
        raise UserError(f"{picture.file} is too large for --min-area; leave that out, or give --format geojson.")
    if (count := len(taken.source.categories)) > 255:
        raise UserError(
            f"{picture.file} is too large for a GeoTIFF of more than 255 categories, and there are {count}; "
            "give a --variant of fewer clusters, or --format geojson."
        )
    colours = np.zeros((256, 3), dtype=np.uint8)
    colours[: len(taken.source.categories)] = [category.colour for category in taken.source.categories]
    write_labels(path, large.bands, large.shape, colours, {}, picture.geo, [(NO_DATA, 2, 0, "255", True)])
