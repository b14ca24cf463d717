"""COCO panoptic: a PNG of segment ids a picture, and one JSON (https://cocodataset.org/#format-data).

A segment's id in the PNG is R + 256 G + 256^2 B, 0 where there is none. Stuff is one segment a category, things (or
everything, with instances) one a piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.exports.formats import FormatOptions, compact, file_of, stream_list
from patchbank.exports.regions import Region, Taken, regions
from patchbank.exports.source import Picture

HELP = "panoptic.json and panoptic/*.png, for panoptic training code"
OPTIONS = ("--instances", "--image-prefix")


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `panoptic.json` and `panoptic/<name>.png`."""
    images: list[dict[str, Any]] = []

    def annotations() -> Iterator[dict[str, Any]]:
        for picture in taken:
            height, width = picture.labels.shape
            name = options.image_prefix + picture.file
            images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
            ids, segments = _segments(picture, taken)
            target = file_of(folder / "panoptic", picture.name, ".png")
            Image.fromarray(np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)).save(target)
            file = target.relative_to(folder / "panoptic").as_posix()
            yield {"image_id": len(images), "file_name": file, "segments_info": segments}

    path = folder / "panoptic.json"
    stream_list(path, '{"annotations":', annotations(), "")
    categories = [
        {"id": number, "name": category.name, "isthing": int(category.thing), "color": list(category.colour)}
        for number, category in enumerate(taken.source.categories, 1)
    ]
    with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f',\n"images":{compact(images)},\n"categories":{compact(categories)}}}\n')


def _segments(picture: Picture, taken: Taken) -> tuple[NDArray[np.int64], list[dict[str, Any]]]:
    ids = np.zeros(picture.labels.shape, dtype=np.int64)
    found: list[dict[str, Any]] = []
    for region in _parts(picture, taken):
        number = len(found) + 1
        box = slice(region.top, region.top + region.mask.shape[0]), slice(region.left, region.left + region.box[2])
        ids[box][region.mask] = number
        found.append(
            {
                "id": number,
                "category_id": region.category + 1,
                "area": region.area,
                "bbox": list(region.box),
                "iscrowd": 0,
            }
        )
    return ids, found


def _parts(picture: Picture, taken: Taken) -> Iterator[Region]:
    """Whole categories where they are stuff, pieces where they are things or instances are asked for."""
    things = [category.thing or taken.settings.instances for category in taken.source.categories]
    for instances in (False, True):
        for region in regions(picture.labels, instances):
            if things[region.category] == instances:
                yield region
