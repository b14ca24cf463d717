"""What labels are: one label map a picture, and what its numbers mean.

`rows` and `segmented` yield one label map a picture at the picture's own size, in categories from 0 on and -1 where
there is none, with the picture's file name and, of a GeoTIFF, its place on the map. One picture is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.geo import Geo
from patchbank.errors import UserError

Upsample = Literal["bilinear", "nearest"]
Labels = NDArray[np.int64]
LabelMap = NDArray[np.int64] | NDArray[np.int32]
"""Of a picture in memory."""
NAMED = "Labels are named by a row of results, e.g. results/mine/kmeans/seed0, or by the --out of `patchbank segment`."


@dataclass(frozen=True)
class Category:
    """What a label is called, its RGB colour, and whether it is a thing that one can count (else stuff)."""

    name: str
    colour: tuple[int, int, int]
    thing: bool = False


@dataclass(frozen=True, eq=False)
class Large:
    """The labels of a raster, which are never all in memory.

    Attributes:
        shape: (H, W).
        bands: called for bands (rows, W) of labels from top to bottom.
    """

    shape: tuple[int, int]
    bands: Callable[[], Iterator[Labels]]


@dataclass(frozen=True, eq=False)
class Picture:
    """The labels of one picture.

    Attributes:
        name: POSIX path without suffix, the name of its outputs.
        file: POSIX path of the picture in its folder.
        labels: (H, W) int64 (int32 of joined tiles), position of the category, -1 for none; empty of a raster.
        geo: its place on the map.
        large: the labels of a raster.
        gone: where the picture was, if it cannot be read any more to tell its place.
    """

    name: str
    file: str
    labels: LabelMap
    geo: Geo | None = None
    large: Large | None = None
    gone: Path | None = None

    def check_place(self) -> None:
        """Raise `UserError` where the place on the map is lost, for formats that tell it."""
        if self.gone is not None:
            raise UserError(
                f"{self.gone} cannot be read any more, and only it tells where its labels lie on the map; put it back, "
                "or run the set with its new folder."
            )


NONE: Labels = np.zeros((0, 0), dtype=np.int64)
"""Labels of a raster, in the place of those of other pictures."""


@dataclass(frozen=True)
class Source:
    """The labels of many pictures.

    Attributes:
        folder: where they come from.
        kind: what a category is: classes, clusters or segments.
        categories: what labels mean, id = position.
        count: of the pictures.
        pictures: called for an iterator over them; may be called again.
    """

    folder: Path
    kind: str
    categories: tuple[Category, ...]
    count: int
    pictures: Callable[[], Iterator[Picture]]


@dataclass(frozen=True)
class Choice:
    """What of a row is taken.

    Attributes:
        names: a `names.yaml`, or None.
        variant: number of clusters and seed, ``k8-s0``; None is the one of the page.
        clusters: clusters even where they are matched to classes.
        upsample: from the patch grid to pixels.
    """

    names: Path | None = None
    variant: str | None = None
    clusters: bool = False
    upsample: Upsample = "bilinear"


def categories_of(names: Sequence[str], colours: Any, things: Sequence[bool] = ()) -> tuple[Category, ...]:
    """Categories from names, colours (n, 3) and, where that is known, which are things."""
    thing = [*things] or [False] * len(names)
    return tuple(
        Category(name, (int(colour[0]), int(colour[1]), int(colour[2])), countable)
        for name, colour, countable in zip(names, colours, thing, strict=True)
    )


def pick(table: Labels, labels: NDArray[np.integer[Any]]) -> Labels:
    """Categories (H, W) of labels from 0 on, -1 for none, through `table` (n,)."""
    picked: Labels = np.append(table, -1)[labels]
    return picked
