"""The pictures of a set with `tiles`: each of its TIFFs is cut into tiles, and its mask with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from patchbank.datasets.layouts import Item, Listing, is_absent
from patchbank.datasets.raster import tiff_size
from patchbank.datasets.tiles import tiles_of
from patchbank.errors import raise_problems


def cut_up(name: str, listing: Listing, side: int) -> Listing:
    """A listing with the tiles of every TIFF in its place, other pictures as they are.

    Args:
        name: of the set, for messages.
        listing: as a layout found it.
        side: of a tile in pixels, about.

    Raises:
        UserError: masks that are no TIFFs of their pictures' sizes, or files that are called as tiles are; all of them.
    """
    problems: dict[str, None] = {}  # a picture may stand in several splits
    splits = {split: [one for item in items for one in _cut(item, side, problems)] for split, items in listing.items()}
    advice = (
        "Masks of pictures that are cut are TIFFs of the same size with class ids in one band; or leave `tiles` out."
    )
    raise_problems(f"{name}: {len(problems)} pictures cannot be cut into tiles", list(problems), advice)
    return Listing(splits, listing.left_out)


def _cut(item: Item, side: int, problems: dict[str, None]) -> list[Item]:
    image = item[0]
    size = tiff_size(image)
    if size is None:  # no TIFF, or one whose header is broken, as the scan says
        return [item]
    tiles = tiles_of(size, side)
    if len(tiles) == 1:
        return [item]

    def names(path: Path) -> list[Path]:
        if path != image and (of_mask := tiff_size(path)) != size:
            said = "is no TIFF" if of_mask is None else f"is {of_mask[0]}x{of_mask[1]}"
            problems[f"{path} {said}, and its picture is a TIFF of {size[0]}x{size[1]}"] = None
        named = [tile.name(path) for tile in tiles]
        if (taken := next((name for name in named if os.path.lexists(name)), None)) is not None:
            problems[f"{taken} is called as a tile of {path.name} is; rename one"] = None
        return named

    def of_labels(path: Path | None) -> Sequence[Path | None]:
        # a mask that is not there has one name for all, at which nothing is
        return [path] * len(tiles) if path is None or is_absent(path) else names(path)

    return list(zip(names(image), of_labels(item[1]), of_labels(item[2]), strict=True))
