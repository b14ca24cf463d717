"""MOVi-C and MOVi-E as AlignSeg lays them out: frames to train on, images with instance masks to score.

Images and masks are paired by name (AlignSeg's own code pairs two directory listings by position, which goes wrong as
soon as one file is missing). Frames have no masks.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.datasets.layouts import Item, Listing, missing_tree
from patchbank.datasets.listing import Search, alike, by_stem

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
frames/*      pictures of the split train
images/*      pictures of the split val
masks/*.png   instance ids (0 = background) of the pictures in images/, same names
"""
FOLDERS = {"train": "frames", "val": "images"}


def find(spec: DatasetSpec) -> Listing:
    """List images and instance maps of each split; see `patchbank.datasets.layouts`."""
    search = Search()
    return Listing({split: _items(spec, search, split) for split in spec.splits}, search.left_out)


def _items(spec: DatasetSpec, search: Search, split: str) -> list[Item]:
    if split not in FOLDERS:
        raise missing_tree(spec, EXPECTED_TREE, f"there is no split {split!r}, only train and val.")
    images = _files(spec, search, FOLDERS[split])
    if split == "train":
        return [(path, None, None) for path in images]
    masks, pictures = by_stem(_files(spec, search, "masks")), by_stem(images)
    for stem, paths in [*masks.items(), *pictures.items()]:
        if len(paths) > 1:
            raise missing_tree(spec, EXPECTED_TREE, f"{paths[0].parent}: {alike(paths)}; keep one.")
        if stem not in pictures:
            raise missing_tree(spec, EXPECTED_TREE, f"{paths[0]} has no picture {stem}.* in images.")
    missing = spec.root / "masks"
    return [(paths[0], None, masks.get(stem, [missing / f"{stem}.png"])[0]) for stem, paths in pictures.items()]


def _files(spec: DatasetSpec, search: Search, name: str) -> list[Path]:
    folder = spec.root / name
    if not folder.is_dir():
        raise missing_tree(spec, EXPECTED_TREE, f"{folder} does not exist.")
    files = search.pictures(folder)
    if not files:
        raise missing_tree(spec, EXPECTED_TREE, f"{folder} holds no picture.")
    return files
