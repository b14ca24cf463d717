"""YOLO segmentation: a text file a picture, one polygon a line, and `data.yaml` with the classes.

Format (https://docs.ultralytics.com/datasets/segment/): class, then x y of each corner as shares of width and height.
Labels of `images/<name>` are looked for in `labels/<name>.txt` (`patchbank.exports.beside`).
Without `path`, `train` and `val` lie in the folder of `data.yaml`; a relative `path` counts from elsewhere.
Polygons know no holes there, so a mask with holes is cut into pieces without, each a line of its own.
"""

from __future__ import annotations

import posixpath
from pathlib import Path

import yaml

from patchbank.datasets.formats import without_suffix
from patchbank.exports.beside import Once, yolo_names
from patchbank.exports.formats import FormatOptions, file_of
from patchbank.exports.polygons import polygons, without_holes
from patchbank.exports.regions import Taken, regions

HELP = "labels/<name>.txt with polygons, and data.yaml, for YOLO training"
OPTIONS = ("--instances", "--tolerance")


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `labels/<name>.txt` and `data.yaml`; `UserError` for two pictures of one name."""
    once, inside = Once(), list[str]()
    for picture in taken:
        height, width = picture.labels.shape
        image, name = yolo_names(without_suffix(picture.file))
        once.check(picture, name)
        inside = [posixpath.commonpath([*inside, posixpath.dirname(image)])]
        with file_of(folder, name, ".txt").open("w", encoding="utf-8") as file:
            for region in regions(picture.labels, taken.settings.instances):
                for top, left, piece in without_holes(region.mask):
                    shapes = polygons(piece, taken.settings.tolerance, region.top + top, region.left + left)
                    for polygon in shapes:
                        points = (polygon.exterior / (width, height)).ravel()
                        file.write(f"{region.category} {' '.join(f'{value:.6f}' for value in points)}\n")
    names = {number: category.name for number, category in enumerate(taken.source.categories)}
    images = "".join(inside) or "."
    content = {"train": images, "val": images, "names": names}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / "data.yaml").write_text(text, encoding="utf-8")
