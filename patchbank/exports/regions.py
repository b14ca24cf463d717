"""Which parts of label maps are written: categories that are left out, pieces that are too small, single instances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from patchbank.errors import UserError
from patchbank.exports.source import LabelMap, Large, Picture, Source
from patchbank.progress import track


@dataclass(frozen=True)
class RegionSettings:
    """What is written of a label map.

    Attributes:
        min_area: pixels; smaller 4-connected pieces of a category lose their label.
        tolerance: pixels that the border of a polygon may lie off.
        instances: each 4-connected piece is an object of its own, instead of all of a category in a picture.
        leave_out: names of categories that are not written.
    """

    min_area: int = 0
    tolerance: float = 0.0
    instances: bool = False
    leave_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.min_area < 0 or not 0 <= self.tolerance < np.inf:
            raise UserError(f"--min-area {self.min_area} and --tolerance {self.tolerance} must be 0 or above.")


@dataclass(frozen=True, eq=False)
class Region:
    """One object, or all of a category in a picture.

    Attributes:
        category: its position.
        top, left: where its box begins.
        mask: (h, w) bool, the box.
    """

    category: int
    top: int
    left: int
    mask: NDArray[np.bool_]

    @cached_property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x, y, width, height."""
        return self.left, self.top, self.mask.shape[1], self.mask.shape[0]

    def whole(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """The mask in a picture of `shape` (H, W)."""
        full = np.zeros(shape, dtype=np.bool_)
        full[self.top : self.top + self.mask.shape[0], self.left : self.left + self.mask.shape[1]] = self.mask
        return full


@dataclass
class Taken:
    """The pictures of a source, without what settings leave out; counts what that was.

    Attributes:
        source: where labels come from.
        settings: what is written.
        pictures: how many were yielded.
        dropped: pieces that were too small, by category.
        large: whether rasters are yielded; their small pieces are left to the format.
    """

    source: Source
    settings: RegionSettings
    pictures: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    large: bool = False

    def __post_init__(self) -> None:
        """Refuse names that no category has."""
        known = [category.name for category in self.source.categories]
        if foreign := sorted(set(self.settings.leave_out) - set(known)):
            raise UserError(f"--leave-out {foreign[0]!r} is no category of {self.source.folder}: {', '.join(known)}.")

    def __iter__(self) -> Iterator[Picture]:
        """Every picture, with progress."""
        names = [category.name for category in self.source.categories]
        kept = np.array([name not in self.settings.leave_out for name in names] + [False])
        for picture in track(self.source.pictures(), "export", "picture", self.source.count):
            self.pictures += 1
            if picture.large is not None:
                if not self.large:
                    raise UserError(f"{picture.file} is too large for this format; give --format geojson or geotiff.")
                yield replace(picture, large=_kept(picture.large, kept))
                continue
            labels = picture.labels
            if self.settings.min_area > 1 or not kept[:-1].all():  # else a copy of it would be the same
                labels = np.where(kept[labels], labels, -1)
            yield replace(picture, labels=self._without_small(labels))

    def _without_small(self, labels: LabelMap) -> LabelMap:
        if self.settings.min_area <= 1:
            return labels
        for category, box in _boxes(labels):
            pieces, count = ndimage.label(labels[box] == category)
            small = np.bincount(pieces.ravel(), minlength=count + 1) < self.settings.min_area
            small[0] = False
            self.dropped[self.source.categories[category].name] += int(small.sum())
            labels[box][small[pieces]] = -1
        return labels


def _kept(large: Large, kept: NDArray[np.bool_]) -> Large:
    """A raster's labels without the categories that are left out."""
    return replace(large, bands=lambda: (np.where(kept[band], band, -1) for band in large.bands()))


def regions(labels: LabelMap, instances: bool) -> Iterator[Region]:
    """The regions of a label map (H, W), by category, pieces in reading order."""
    for category, box in _boxes(labels):
        mask = labels[box] == category
        top, left = box[0].start, box[1].start
        if not instances:
            yield Region(category, top, left, mask)
            continue
        pieces, _ = ndimage.label(mask)
        for number, (rows, columns) in enumerate(ndimage.find_objects(pieces), 1):
            yield Region(category, top + rows.start, left + columns.start, pieces[rows, columns] == number)


def numbered(labels: LabelMap) -> tuple[NDArray[np.int64], list[Region]]:
    """The pieces of a label map as numbers (H, W) from 1 on, 0 for none, and the regions in that order."""
    numbers, found = np.zeros(labels.shape, dtype=np.int64), list(regions(labels, True))
    for number, region in enumerate(found, 1):
        rows = slice(region.top, region.top + region.mask.shape[0])
        numbers[rows, region.left : region.left + region.mask.shape[1]][region.mask] = number
    return numbers, found


def _boxes(labels: LabelMap) -> list[tuple[int, tuple[slice, slice]]]:
    """Every category that occurs, with its box."""
    boxes = ndimage.find_objects((labels + 1).astype(np.int32, copy=False))
    return [(category, box) for category, box in enumerate(boxes) if box is not None]
