"""Palette PNGs of the pictures' sizes, value i = class i, and `classes.json` beside them.

255 (of more than 255 categories: 65,535 of 16-bit greyscale) stands where there is no label. Masks lie where the layout
`folder` reads those of pictures beside them (`patchbank.exports.beside`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from patchbank.exports.beside import Once, mask_name
from patchbank.exports.formats import FormatOptions, file_of
from patchbank.exports.regions import Taken
from patchbank.files import write_json

HELP = "masks/<name>.png, palette PNGs with class ids, and classes.json"
GREY = (128, 128, 128)


def write(taken: Taken, folder: Path, options: FormatOptions) -> None:
    """Write `masks/<name>.png` and `classes.json`; `UserError` for two pictures of one mask."""
    none = write_classes(taken, folder)
    table = np.zeros((256, 3), dtype=np.uint8)
    colours = [category.colour for category in taken.source.categories]
    if none == 255:
        table[: len(colours)], table[none] = np.array(colours, dtype=np.uint8).reshape(-1, 3), GREY
    once = Once()
    for picture in taken:
        labels = np.where(picture.labels < 0, none, picture.labels)
        image = Image.fromarray(labels.astype(np.uint8 if none == 255 else np.uint16))
        if none == 255:
            image.putpalette(table.tobytes())
        name = mask_name(picture.name)
        once.check(picture, name)
        image.save(file_of(folder, name, ".png"))


def write_classes(taken: Taken, folder: Path) -> int:
    """Write `classes.json`: what values mean; returns the value of pixels without a label."""
    categories = taken.source.categories
    none = 255 if len(categories) <= 255 else 65_535
    classes = [
        {"id": number, "name": one.name, "colour": list(one.colour), "thing": one.thing}
        for number, one in enumerate(categories)
    ]
    write_json(folder / "classes.json", {"no_label": none, "classes": classes})
    return none
