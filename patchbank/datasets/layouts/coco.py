"""COCO with COCO-Stuff masks, in the trees of both reference systems and of the official archives.

Images and masks may each lie in any of the known places; exactly one of them must hold the splits. Three layouts share
this module: `coco` (stuffthingmaps, raw ids), `coco_stuff` and `coco_thing` (AlignSeg's pixel maps of the stuff and of
the panoptic annotations, category ids). Which images are used is the set's `images`:

- `all`: every file of the image folder (AlignSeg);
- `annotated`: those of `instances_<split>2017.json` with at least one annotation (TransFGU's published scores); every
  picture for a split that is not scored and has no such file, as an unlabelled one has not;
- `curated`: those of IIC's list, by its name below the root.

Sources: the trees that the code of AlignSeg (https://github.com/yliu1229/AlignSeg) and of TransFGU
(https://github.com/damo-cv/TransFGU) reads; https://cocodataset.org/#download.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.datasets.formats import without_suffix
from patchbank.datasets.layouts import Item, Listing, missing_tree
from patchbank.datasets.listing import Search
from patchbank.datasets.lists import Listed, Shelf, read_list
from patchbank.errors import UserError

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

LISTS = ("all", "annotated", "curated")
EXPECTED_TREE = """
images  in one of   images/{train2017,val2017}/*.jpg   coco/images/{train2017,val2017}/*.jpg   {train2017,val2017}/*.jpg
masks   in one of   annotations/{train2017,val2017}/*.png   stuffthingmaps_trainval2017/{train2017,val2017}/*.png
                    annotations/stuffthingmaps_trainval2017/{train2017,val2017}/*.png
                    annotations/annotations/stuffthingmaps_trainval2017/{train2017,val2017}/*.png
images: annotated   annotations/instances_{train2017,val2017}.json (or in annotations/annotations/)
                    masks and instances_*.json are optional for a split that is not scored
images: curated     curated/{train2017,val2017}/Coco164kFull_Stuff_Coarse_7.txt (or {train2017,val2017}/ alone, or flat:
                    curated/{train2017,val2017}.txt)
"""

IMAGES = ("images/{split}", "coco/images/{split}", "{split}")
MASKS = (
    "annotations/{split}",
    "annotations/stuffthingmaps_trainval2017/{split}",
    "annotations/annotations/stuffthingmaps_trainval2017/{split}",
    "stuffthingmaps_trainval2017/{split}",
)
ANNOTATIONS = ("annotations/instances_{split}.json", "annotations/annotations/instances_{split}.json")
CURATED_NAME = "Coco164kFull_Stuff_Coarse_7.txt"
CURATED = (
    f"curated/{{split}}/{CURATED_NAME}",
    f"{{split}}/{CURATED_NAME}",
    "curated/{split}.txt",
    f"{{split}}_{CURATED_NAME}",
)


def find(spec: DatasetSpec) -> Listing:
    """List images and masks of each split; see `patchbank.datasets.layouts`."""
    return find_in(spec, EXPECTED_TREE, MASKS)


def find_in(spec: DatasetSpec, tree: str, masks: Sequence[str]) -> Listing:
    """List the images of each split with masks from one of the places `masks` (patterns with ``{split}``)."""
    image_place = _place(spec, tree, IMAGES, "images", spec.splits)
    mask_places = _label_places(spec, tree, masks, "masks") if spec.classes else {}
    search = Search()
    listing: dict[str, list[Item]] = {}
    for split in spec.splits:
        folder = spec.root / image_place.format(split=_name(split))
        images = Shelf(search, folder, ".jpg")
        shelf = Shelf(search, mask_places[split]) if mask_places else None
        listing[split] = [(line.image, line.mask, None) for line in _listed(spec, tree, split, images, shelf)]
        if not listing[split]:
            raise missing_tree(spec, tree, f"{folder} holds no picture.")
    return Listing(listing, search.left_out)


def _name(split: str) -> str:
    """COCO's name of a split."""
    return split if split.endswith("2017") else f"{split}2017"


def _label_places(spec: DatasetSpec, tree: str, patterns: Sequence[str], kind: str) -> Mapping[str, Path]:
    """Where the labels of each split lie; a split that is not scored may have none, and then they are expected beside
    those of the one that is."""
    there = {
        split: any(_holds_something(spec.root / pattern.format(split=_name(split))) for pattern in patterns)
        for split in spec.splits
    }
    needed = [split for split in spec.splits if there[split] or split == spec.eval_split]
    pattern = _place(spec, tree, patterns, kind, needed)
    return {split: spec.root / pattern.format(split=_name(split)) for split in spec.splits}


def _place(spec: DatasetSpec, tree: str, patterns: Sequence[str], kind: str, splits: Sequence[str]) -> str:
    """The one pattern whose paths exist for all of `splits`."""
    names = [_name(split) for split in splits]
    paths = {pattern: [spec.root / pattern.format(split=name) for name in names] for pattern in patterns}
    complete = [pattern for pattern, tried in paths.items() if all(_holds_something(path) for path in tried)]
    if len(complete) > 1:
        folders = " and ".join(str(paths[pattern][0]) for pattern in complete)
        raise missing_tree(spec, tree, f"the {kind} are in more than one place: {folders}; rename one.")
    if not complete:
        nearest = max(paths.values(), key=lambda tried: sum(_holds_something(path) for path in tried))
        missing = next(path for path in nearest if not _holds_something(path))
        problem = "is empty" if missing.exists() else "does not exist"
        raise missing_tree(spec, tree, f"{missing} {problem}.{_other_layout(spec)}")
    return complete[0]


def _holds_something(path: Path) -> bool:
    """Whether this is a file, or a folder with more than lists in it (which may lie where others keep images)."""
    if not path.is_dir():
        return path.is_file()
    with os.scandir(path) as entries:
        return any(not entry.name.startswith(".") and not entry.name.endswith(".txt") for entry in entries)


def _other_layout(spec: DatasetSpec) -> str:
    """A word on AlignSeg's pixel maps, which need their own layout because their ids mean something else."""
    annotations = spec.root / "annotations"
    for name, folder in (("coco_stuff", "stuff_annotations"), ("coco_thing", "panoptic_annotations")):
        if spec.layout != name and (annotations / folder).is_dir():
            return f" {annotations / folder} is there: its masks are read with `layout: {name}`."
    return ""


def _listed(spec: DatasetSpec, tree: str, split: str, images: Shelf, masks: Shelf | None) -> list[Listed]:
    """The images of a split and their masks, as `spec.images` asks; one that is not there stays (the scan names it)."""
    if spec.images == "curated":
        path = spec.root / _place(spec, tree, CURATED, "curated images", spec.splits).format(split=_name(split))
        listed = read_list(path, spec.root, images, masks)
        if not listed:
            raise missing_tree(spec, tree, f"{path} names no image.")
        return listed
    pictures = [path for paths in images.files.values() for path in paths]
    if spec.images == "annotated":
        path = _label_places(spec, tree, ANNOTATIONS, "annotated images")[split]
        if path.is_file() or split == spec.eval_split:
            status = path.stat()
            pictures = [images.one(name) for name in _annotated(path, status.st_size, status.st_mtime_ns)]
            if not pictures:
                raise missing_tree(spec, tree, f"{path} names no image.")
    return [Listed(path, masks.one(without_suffix(path.name)) if masks else None) for path in pictures]


@lru_cache(maxsize=8)
def _annotated(path: Path, size: int, mtime: int) -> tuple[str, ...]:
    """File names of the images of an instances file that have at least one annotation, in the order of the file.

    The file (448 MB for train2017) is searched where it lies, not parsed: that takes two seconds instead of ten, and no
    memory to speak of. Objects with a `file_name` hold no other object, so each is found whole and parsed by itself.

    Args:
        size, mtime: of the file, so that a replaced file is read again.
    """
    if size == 0:
        raise UserError(f"{path} is empty; fetch it again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        annotated = {int(match[1]) for match in re.finditer(rb'"image_id"\s*:\s*(\d+)', text)}
        try:
            images = [json.loads(text[start:end]) for start, end in _objects(text, b'"file_name"')]
            return tuple(str(image["file_name"]) for image in images if image["id"] in annotated)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is not a COCO instances file ({error}); fetch it again.") from None


def _objects(text: mmap.mmap, key: bytes) -> Iterator[tuple[int, int]]:
    """Start and end of each innermost JSON object around `key`."""
    position = text.find(key)
    while position >= 0:
        yield text.rfind(b"{", 0, position), text.find(b"}", position) + 1
        position = text.find(key, position + len(key))
