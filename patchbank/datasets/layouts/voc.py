"""Pascal VOC, in the trees of both reference systems and of the official archive.

Which of them is there is detected; the tree may lie in the root itself or in one of `PVOC`, `VOC2012`,
`VOCdevkit/VOC2012` below it. The split `trainaug` takes its masks from `SegmentationClassAug`, others from
`SegmentationClass`. Lists: `patchbank.datasets.lists`. Masks are palette PNGs whose indices count.
Sources: the trees that the code of AlignSeg (https://github.com/yliu1229/AlignSeg) and of TransFGU
(https://github.com/damo-cv/TransFGU) reads, and the VOC 2012 development kit (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.datasets.layouts import Item, Listing, masks_needed, missing_tree
from patchbank.datasets.listing import Search
from patchbank.datasets.lists import Shelf, read_list

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
either  images/*.jpg       SegmentationClass/*.png   sets/<split>.txt                     (or in PVOC/)
or      JPEGImages/*.jpg   SegmentationClass/*.png   ImageSets/Segmentation/<split>.txt   (or in VOCdevkit/VOC2012/)
and     SegmentationClassAug/*.png for the split trainaug; masks are optional for a split that is not scored
"""

BASES = ("", "PVOC", "VOC2012", "VOCdevkit/VOC2012")
VARIANTS = (("images", "sets"), ("JPEGImages", "ImageSets/Segmentation"))


@dataclass(frozen=True)
class _Tree:
    """One place where the set may lie, in one variant."""

    images: Path
    lists: Path
    masks: dict[str, Path]
    """Mask folder of each split."""
    needed: tuple[Path, ...]
    """The mask folders that must exist."""

    def list_of(self, split: str) -> Path:
        return self.lists / f"{split}.txt"

    def required(self) -> list[Path]:
        """All paths that must exist, in the order in which a user puts them there."""
        return [self.images, *self.needed, *(self.list_of(split) for split in self.masks)]

    def first_missing(self) -> Path | None:
        return next((path for path in self.required() if not path.exists()), None)

    def other_lists(self) -> str:
        """A sentence on the lists that are there, where a list is what is missing."""
        there = sorted(path.stem for path in self.lists.glob("*.txt")) if self.lists.is_dir() else []
        if not there or self.first_missing() not in [self.list_of(split) for split in self.masks]:
            return ""
        return f" Lists that are there: {', '.join(there)}; name one with train_split or eval_split."


def find(spec: DatasetSpec) -> Listing:
    """List images and masks of each split; see `patchbank.datasets.layouts`."""
    trees = [_tree(spec, base, *variant) for base in BASES for variant in VARIANTS]
    complete = [tree for tree in trees if tree.first_missing() is None]
    if len(complete) > 1:
        folders = " and ".join(str(tree.images) for tree in complete)
        raise missing_tree(spec, EXPECTED_TREE, f"more than one complete tree: {folders}; rename one.")
    if not complete:
        nearest = max(trees, key=lambda tree: sum(path.exists() for path in tree.required()))
        raise missing_tree(spec, EXPECTED_TREE, f"{nearest.first_missing()} does not exist.{nearest.other_lists()}")
    tree = complete[0]
    search = Search()
    images = Shelf(search, tree.images, ".jpg")
    return Listing({split: _items(spec, tree, split, images) for split in spec.splits}, search.left_out)


def _tree(spec: DatasetSpec, base: str, images: str, lists: str) -> _Tree:
    root = spec.root / base if base else spec.root
    masks = {
        split: root / ("SegmentationClassAug" if split == "trainaug" else "SegmentationClass") for split in spec.splits
    }
    needed = tuple(folder for split, folder in masks.items() if masks_needed(spec, split))
    return _Tree(root / images, root / lists, masks, needed)


def _items(spec: DatasetSpec, tree: _Tree, split: str, images: Shelf) -> list[Item]:
    path = tree.list_of(split)
    masks = Shelf(images.search, tree.masks[split]) if spec.classes else None
    listed = read_list(path, spec.root, images, masks)
    if not listed:
        raise missing_tree(spec, EXPECTED_TREE, f"{path} names no image.")
    return [(line.image, line.mask, None) for line in listed]
