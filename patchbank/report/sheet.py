"""Draw the contact sheet of a checked set: 12 images with their coloured masks and the legend, to see what is there.

Input: the manifest. Output: a PNG whose bytes depend on the set (and the library versions) only. The images are the
first by content id over all splits, which is a random choice that never changes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from patchbank.datasets.manifest import Entry, Manifest
from patchbank.drawing.layout import Cell, Grid, draw_grid
from patchbank.drawing.overlay import class_colours, nearest, overlay
from patchbank.drawing.pictures import fit, shorten
from patchbank.report.panel import truth_of

IMAGES = 12
ACROSS = 3
"""Images in a row, each with its mask to the right."""
WIDTH = 300
"""Width and largest height of a picture in pixels."""


def draw_sheet(manifest: Manifest, out: Path, count: int = IMAGES, source: str | None = None) -> None:
    """Write the sheet of at most `count` images to `out`, atomically; `source` is noted in it."""
    colours = class_colours(manifest.colours, len(manifest.classes))
    groups = [_cells(manifest, entry, colours) for entry in first_by_id(manifest, count)]
    rows = [
        [cell for group in groups[start : start + ACROSS] for cell in group] for start in range(0, len(groups), ACROSS)
    ]
    titles = ["image", *(["classes"] if manifest.labelled else [])] * min(ACROSS, len(groups))
    draw_grid(Grid(titles, rows, WIDTH, list(manifest.classes), colours), out, source)


def first_by_id(manifest: Manifest, count: int) -> list[Entry]:
    """The `count` entries of the smallest content ids over all splits, each once."""
    entries = {entry.id: entry for split in manifest.splits.values() for entry in split}
    return [entries[key] for key in sorted(entries)[:count]]


def _cells(manifest: Manifest, entry: Entry, colours: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> list[Cell]:
    """The picture and, in a labelled set, its classes."""
    image = manifest.image(entry)
    size = fit(image.width, image.height, WIDTH)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0), dtype=np.uint8)
    cells = [Cell(pixels, shorten(Path(entry.image).name, 34))]
    truth = truth_of(manifest, entry)
    if truth is not None:
        labels = nearest(truth, size[1], size[0])
        caption = f"{entry.width}x{entry.height}{'' if entry.mask else ', no mask'}"
        cells.append(Cell(overlay(pixels, labels, colours), caption, labels))
    return cells
