"""Potsdam in IIC's tiles: `imgs/`, `gt/` and lists of tile names.

Tiles are MATLAB files as IIC's script writes them (`img`, of whose four channels the first three are RGB, and `gt`), or
pictures. The splits `train` and `val` are IIC's `labelled_train` and `labelled_test`; `unlabelled_train` has no masks.
Source: https://github.com/xu-ji/IIC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchbank.datasets.layouts import Item, Listing, masks_needed, missing_tree
from patchbank.datasets.listing import Search, alike
from patchbank.datasets.lists import Shelf, read_list

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
imgs/*.mat   gt/*.mat   labelled_train.txt   labelled_test.txt   unlabelled_train.txt   (tiles may be .png, too)
gt/ is optional for the tiles of a split that is not scored
"""
LISTS_OF = {"train": "labelled_train.txt", "val": "labelled_test.txt"}


def find(spec: DatasetSpec) -> Listing:
    """List tiles and masks of each split; see `patchbank.datasets.layouts`."""
    search = Search()
    return Listing({split: _items(spec, search, split) for split in spec.splits}, search.left_out)


def _items(spec: DatasetSpec, search: Search, split: str) -> list[Item]:
    labelled = bool(spec.classes) and not split.startswith("unlabelled")
    names = spec.root / LISTS_OF.get(split, f"{split}.txt")
    folder, masks = spec.root / "imgs", spec.root / "gt"
    for path in (folder, masks, names) if masks_needed(spec, split) else (folder, names):
        if not path.exists():
            raise missing_tree(spec, EXPECTED_TREE, f"{path} does not exist.")
    tiles, truths = Shelf(search, folder, ".mat"), Shelf(search, masks, ".mat")
    for paths in [*tiles.files.values(), *(truths.files.values() if labelled else ())]:
        if len(paths) > 1:
            raise missing_tree(spec, EXPECTED_TREE, f"{paths[0].parent}: {alike(paths)}; keep one.")
    listed = read_list(names, spec.root, tiles, truths if labelled else None)
    if not listed:
        raise missing_tree(spec, EXPECTED_TREE, f"{names} names no tile.")
    return [(line.image, line.mask, None) for line in listed]
