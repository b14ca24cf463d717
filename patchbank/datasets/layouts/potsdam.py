"""Potsdam in IIC's tiles: `imgs/`, `gt/` and lists of tile names.

Tiles are MATLAB files as IIC's script writes them (`img`, of whose four channels the first three are RGB, and `gt`), or
pictures. The splits `train` and `val` are IIC's `labelled_train` and `labelled_test`; `unlabelled_train` has no masks.
Source: https://github.com/xu-ji/IIC.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.datasets.layouts import (
    Item,
    Listing,
    by_stem,
    list_files,
    masks_needed,
    missing_tree,
    parse_list,
    without_suffix,
)
from patchbank.datasets.listing import alike

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
imgs/*.mat   gt/*.mat   labelled_train.txt   labelled_test.txt   unlabelled_train.txt   (tiles may be .png, too)
gt/ is optional for the tiles of a split that is not scored
"""
LISTS_OF = {"train": "labelled_train.txt", "val": "labelled_test.txt"}


def find(spec: DatasetSpec) -> Listing:
    """List tiles and masks of each split; see `patchbank.datasets.layouts`."""
    return {split: _items(spec, split) for split in spec.splits}


def _items(spec: DatasetSpec, split: str) -> list[Item]:
    labelled = bool(spec.classes) and not split.startswith("unlabelled")
    names = spec.root / LISTS_OF.get(split, f"{split}.txt")
    folder, masks = spec.root / "imgs", spec.root / "gt"
    for path in (folder, masks, names) if masks_needed(spec, split) else (folder, names):
        if not path.exists():
            raise missing_tree(spec, EXPECTED_TREE, f"{path} does not exist.")
    listed = [without_suffix(name) for name in parse_list(names.read_bytes())]
    if not listed:
        raise missing_tree(spec, EXPECTED_TREE, f"{names} names no tile.")
    images, truths = by_stem(list_files(folder)), by_stem(list_files(masks)) if labelled and masks.is_dir() else {}
    return [
        (_one(spec, folder, stem, images), _one(spec, masks, stem, truths) if labelled else None, None)
        for stem in listed
    ]


def _one(spec: DatasetSpec, folder: Path, stem: str, found: dict[str, list[Path]]) -> Path:
    """The file of this name; where there is none, the path that was expected (the scan names it)."""
    paths = found.get(stem, [folder / f"{stem}.mat"])
    if len(paths) > 1:
        raise missing_tree(spec, EXPECTED_TREE, f"{folder}: {alike(paths)}; keep one.")
    return paths[0]
