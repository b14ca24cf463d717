"""Label maps as pictures: colours of classes, overlays on a dimmed image, hatches, and where to write a class's number.

A label map here is an int array (H, W): class or cluster ids from 0, `UNMATCHED` for clusters that belong to no
class, `IGNORED` for pixels that are not scored. Colours are uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNMATCHED = -1
IGNORED = -2
ALPHA = 0.6
"""Weight of the class colour; the rest is the dimmed greyscale image."""

DIM = 0.85
"""Brightness that the greyscale image keeps under the colours."""

LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in grey (Rec. 601)."""

BAND = 64
"""Rows of an overlay that are drawn at a time, so that they stay in the processor's cache."""

HATCH = 10
"""Period of the hatches in pixels."""

SMALL = 0.03
"""Regions below this share of the picture get no number."""

NUMBER = 18
"""Pictures with a side below this many pixels get no numbers, which would hide them."""

OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#6A3D9A")
"""Colours that people with the common kinds of colour blindness can tell apart (the last one is added)."""

Picture = NDArray[np.uint8]
Labels = NDArray[np.int64]
Colours = NDArray[np.uint8]


def palette(count: int) -> Colours:
    """`count` RGB colours (count, 3): up to 8 for colour-blind readers, more from matplotlib's tables."""
    colours = [tuple(int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)) for name in OKABE_ITO]
    if count > len(colours):
        import matplotlib  # slow, and most sets have few colours, or their own

        maps = (matplotlib.colormaps[name].colors for name in ("tab10", "tab20b", "tab20c", "Set3"))  # type: ignore[attr-defined]
        # greys would look like the image below
        colours = [tuple(colour) for table in maps for colour in table if max(colour) - min(colour) > 0.1]
    chosen = [colours[index % len(colours)] for index in range(count)]
    return np.round(np.array(chosen, dtype=np.float64).reshape(-1, 3) * 255).astype(np.uint8)


def class_colours(colours: Sequence[Sequence[int]], count: int) -> Colours:
    """The dataset's own colours (count, 3) where it has one different colour for each class, else our palette."""
    given = [tuple(colour) for colour in colours]
    if len(given) == count and len(set(given)) == count:
        return np.array(given, dtype=np.uint8).reshape(-1, 3)
    return palette(count)


def nearest(labels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Labels (h, w) at another size (height, width), each pixel taking the label under its centre."""
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(np.int64)
    enlarged: NDArray[Any] = labels[rows[:, None], columns[None, :]]
    return enlarged


def region_pixels(region: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels (height, width) of a region (h, w) of the patch grid, as `nearest` finds them, and never none of a region.

    Where the picture has fewer pixels than the grid has patches and no pixel's centre lies in the region, its pixels
    are those in which the centres of its patches lie.
    """
    inside = nearest(region, height, width)
    if not inside.any():
        rows, columns = np.nonzero(region)
        inside[
            ((rows + 0.5) * height / region.shape[0]).astype(np.int64),
            ((columns + 0.5) * width / region.shape[1]).astype(np.int64),
        ] = True
    return inside


def overlay(image: Picture, labels: Labels, colours: Colours) -> Picture:
    """Class colours over a dimmed greyscale image, ignored pixels white, unmatched ones grey, both hatched.

    Args:
        image: uint8 (H, W, 3).
        labels: (H, W), see the module.
        colours: uint8 (classes, 3); ids beyond start again from 0.

    Returns:
        uint8 (H, W, 3), with thin dark lines between regions.
    """
    # an empty table of colours still needs one row to index
    table = ALPHA * (colours if len(colours) else np.zeros((1, 3), dtype=np.uint8))
    index = np.maximum(labels, 0)
    if index.max(initial=0) >= len(table):
        index %= len(table)
    edge, drawn = edges(labels), np.empty_like(image)
    for top in range(0, len(labels), BAND):
        rows = slice(top, top + BAND)
        ids = labels[rows]
        grey = ((image[rows].astype(np.float64) @ LUMA) * DIM)[..., None]
        picture = table.take(index[rows], axis=0)
        picture += (1 - ALPHA) * grey
        for code, light, dark, rising in ((UNMATCHED, 165.0, 95.0, True), (IGNORED, 255.0, 205.0, False)):
            marked = ids == code
            if marked.any():
                stripes = np.where(_stripes(labels.shape, rising, rows)[marked], dark, light)[..., None]
                picture[marked] = 0.8 * stripes + 0.2 * grey[marked] if code == UNMATCHED else stripes
        picture[edge[rows]] *= 0.35
        drawn[rows] = np.rint(picture, out=picture)
    return drawn


def swatch(code: int, colours: Colours, height: int, width: int) -> Picture:
    """A legend's patch (height, width, 3) that looks as `overlay` does on a mid-grey image."""
    grey = np.full((height, width, 3), 140, dtype=np.uint8)
    return overlay(grey, np.full((height, width), code, dtype=np.int64), colours)


def edges(labels: Labels) -> NDArray[np.bool_]:
    """Pixels (H, W) whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, dtype=np.bool_)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def number_positions(labels: Labels) -> list[tuple[int, int, int]]:
    """Where to write each region's number: (id, row, column) of the innermost pixel of every large region.

    A picture that is thinner than a number gets none.
    """
    positions: list[tuple[int, int, int]] = []
    if min(labels.shape) < NUMBER:
        return positions
    from scipy import ndimage  # slow, and only pictures with numbers need it

    for value in np.unique(labels[labels >= 0]):
        regions, count = ndimage.label(labels == value)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)
        for region, box in enumerate(ndimage.find_objects(regions), 1):
            if sizes[region] < SMALL * labels.size:
                continue
            # just outside its box nothing belongs to a region, so that no pixel beyond is nearer; the border is an edge
            inside = np.pad(regions[box] == region, 1)
            depth = ndimage.distance_transform_edt(inside)[1:-1, 1:-1]
            row, column = np.unravel_index(int(depth.argmax()), depth.shape)
            positions.append((int(value), int(row) + box[0].start, int(column) + box[1].start))
    return positions


def _stripes(shape: tuple[int, ...], rising: bool, rows: slice) -> NDArray[np.bool_]:
    """Which pixels of some rows of a picture (H, W) are dark in its hatches."""
    down, across = np.arange(shape[0])[rows, None], np.arange(shape[1])
    striped: NDArray[np.bool_] = (down + (across if rising else -across)) % HATCH < HATCH // 3
    return striped
