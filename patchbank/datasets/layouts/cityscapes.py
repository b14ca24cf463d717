"""Cityscapes, as its archives unpack: one folder a city, masks are the `labelIds` of the fine annotations.

Source: https://github.com/mcordts/cityscapesScripts (dataset structure).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.datasets.layouts import Item, Listing, masks_needed, missing_tree
from patchbank.datasets.listing import Search

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
leftImg8bit/<split>/<city>/*_leftImg8bit.png
gtFine/<split>/<city>/*_gtFine_labelIds.png   (masks are optional for a split that is not scored)
"""

IMAGE_END = "_leftImg8bit.png"
MASK_END = "_gtFine_labelIds.png"


def find(spec: DatasetSpec) -> Listing:
    """List images and masks of each split; see `patchbank.datasets.layouts`."""
    search = Search()
    return Listing({split: _items(spec, search, split) for split in spec.splits}, search.left_out)


def _items(spec: DatasetSpec, search: Search, split: str) -> list[Item]:
    images = _files(spec, search, "leftImg8bit", split)
    if not images:
        raise missing_tree(spec, EXPECTED_TREE, f"{spec.root / 'leftImg8bit' / split} holds no city with pictures.")
    if not spec.classes:
        return [(path, None, None) for path in images]
    pairs = {path: _mask_of(spec, split, path) for path in images}
    wanted = set(pairs.values())
    labelled = masks_needed(spec, split) or (spec.root / "gtFine" / split).is_dir()
    for mask in _files(spec, search, "gtFine", split) if labelled else ():
        if mask.name.endswith(MASK_END) and mask not in wanted:
            raise missing_tree(spec, EXPECTED_TREE, f"{mask} has no picture in leftImg8bit/{split}.")
    return [(path, mask, None) for path, mask in pairs.items()]


def _mask_of(spec: DatasetSpec, split: str, image: Path) -> Path:
    name = image.name.removesuffix(IMAGE_END)
    return spec.root / "gtFine" / split / image.parent.name / f"{name}{MASK_END}"


def _files(spec: DatasetSpec, search: Search, kind: str, split: str) -> list[Path]:
    """All files of all cities, sorted."""
    folder = spec.root / kind / split
    if not folder.is_dir():
        raise missing_tree(spec, EXPECTED_TREE, f"{folder} does not exist.")
    return [path for city in search.content(folder).folders for path in search.pictures(city)]
