"""CVAT's "Segmentation mask 1.1": `cvat.zip`, to be uploaded to a task of the same pictures.

Layout (https://docs.cvat.ai/docs/dataset_management/formats/format-smask/): `labelmap.txt` with a colour a label,
`ImageSets/Segmentation/default.txt` with the pictures' names, `SegmentationClass/` with masks in those colours and
`SegmentationObject/` with a colour of VOC's colour map for each object. Black is background, which CVAT leaves empty.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.errors import UserError
from patchbank.exports.formats import FormatOptions, distinct_colours
from patchbank.exports.regions import Taken, numbered, regions
from patchbank.exports.source import LabelMap

HELP = 'an archive to upload to a CVAT task as "Segmentation mask 1.1"'
OPTIONS = ("--instances",)
BACKGROUND = "background"


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `cvat.zip`."""
    categories = taken.source.categories
    if odd := [one.name for one in categories if ":" in one.name or "#" in one.name]:
        raise UserError(f"CVAT's list of labels cannot hold the name {odd[0]!r}; name it without ':' and '#'.")
    colours = distinct_colours(categories)
    colours = [(0, 0, 0) if one.name == BACKGROUND else colour for one, colour in zip(categories, colours, strict=True)]
    table = np.array([*colours, (0, 0, 0)], dtype=np.uint8)
    names = []
    with zipfile.ZipFile(folder / "cvat.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for picture in taken:
            names.append(picture.name)
            objects = numbered(picture.labels)[0] if taken.settings.instances else _by_category(picture.labels)
            for kind, mask in (("Class", table[picture.labels]), ("Object", voc_colours(objects))):
                _store(archive, f"Segmentation{kind}/{picture.name}.png", _png(mask))
        lines = "".join(f"{one.name}:{r},{g},{b}::\n" for one, (r, g, b) in zip(categories, colours, strict=True))
        if all(one.name != BACKGROUND for one in categories):
            lines = f"{BACKGROUND}:0,0,0::\n" + lines
        _store(archive, "labelmap.txt", ("# label:color_rgb:parts:actions\n" + lines).encode())
        listed = "".join(f"{name}\n" for name in names)
        _store(archive, "ImageSets/Segmentation/default.txt", listed.encode("utf-8", "surrogateescape"))


def voc_colours(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Colours (H, W, 3) of numbers (H, W) in VOC's colour map: bits 0, 1, 2 are red, green, blue, the lowest on top."""
    colours = np.zeros((*numbers.shape, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[..., channel] |= (((numbers >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _by_category(labels: LabelMap) -> NDArray[np.int64]:
    """Numbers (H, W) from 1 on: each category that occurs is one object."""
    numbers = np.zeros(labels.shape, dtype=np.int64)
    for number, region in enumerate(regions(labels, False), 1):
        numbers[labels == region.category] = number
    return numbers


def _png(mask: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def _store(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """A member without a date, so that equal labels give equal bytes."""
    member = zipfile.ZipInfo(name)
    member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(member, content)
