"""COCO: one JSON of images, annotations and categories (https://cocodataset.org/#format-data).

A mask is COCO's compressed run lengths, exact to the pixel, or polygons. A list of polygons knows no holes, so a mask
with holes is cut into pieces without. `category_id` counts from 1; `iscrowd` is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from patchbank.exports.formats import FormatOptions, compact, stream_list
from patchbank.exports.polygons import polygons, without_holes
from patchbank.exports.regions import Region, Taken, regions
from patchbank.exports.rle import coco_box_rle
from patchbank.exports.source import Picture

HELP = "annotations.json for training code and most labelling tools (run lengths, or --polygons)"
OPTIONS = ("--instances", "--polygons", "--tolerance", "--image-prefix")


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `annotations.json`."""
    images: list[dict[str, Any]] = []

    def annotations() -> Iterator[dict[str, Any]]:
        number = 0
        for picture in taken:
            height, width = picture.labels.shape
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": options.image_prefix + picture.file,
                    "width": width,
                    "height": height,
                }
            )
            for region in regions(picture.labels, taken.settings.instances):
                number += 1
                yield _annotation(number, len(images), region, picture, options.polygons, taken.settings.tolerance)

    path = folder / "annotations.json"
    stream_list(path, '{"annotations":', annotations(), "")
    categories = [
        {"id": number, "name": category.name, "supercategory": "thing" if category.thing else "stuff"}
        for number, category in enumerate(taken.source.categories, 1)
    ]
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        info = compact({"description": "labels exported by patchbank", "version": "1.0"})
        file.write(f',\n"images":{compact(images)},\n"categories":{compact(categories)},\n"info":{info}}}\n')


def _annotation(
    number: int, image: int, region: Region, picture: Picture, as_polygons: bool, tolerance: float
) -> dict[str, Any]:
    segmentation: Any
    if as_polygons:
        segmentation = []
        for top, left, piece in without_holes(region.mask):
            for polygon in polygons(piece, tolerance, region.top + top, region.left + left):
                segmentation.append(polygon.exterior.ravel().tolist())
    else:
        segmentation = coco_box_rle(region.mask, region.top, region.left, picture.labels.shape)
    return {
        "id": number,
        "image_id": image,
        "category_id": region.category + 1,
        "segmentation": segmentation,
        "area": region.area,
        "bbox": list(region.box),
        "iscrowd": 0,
    }
