"""Any folder of images, with or without labels: our own layout, and the common trees that mean the same.

`images/<split>/*` with masks of the same name in `masks/<split>/*` and, where there are any, instance maps in
`instances/<split>/*`. Without folders of splits (`images/*`, or pictures in the root itself) the same pictures serve as
train and eval split. `<split>/images/*` with `<split>/masks/*`, and `<split>/*` alone, are read too, under other common
words (`IMAGES`, `MASKS`, `ALIASES`) where one folder only can be meant. Sub-folders are read; a mask lies in the same
sub-folder as its picture, and all masks may have one ending more in their names (`a_mask.png`). A set without class
names is unlabelled, and its masks are not read; instance maps are, for protocols that need no classes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from patchbank.datasets.formats import without_suffix
from patchbank.datasets.layouts import Item, Listing, masks_needed, missing_tree
from patchbank.datasets.listing import Search, alike, relative, told

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
images/<split>/*      pictures (or images/* without splits, or pictures in the folder itself)
masks/<split>/*.png   class ids, same name as the picture (not read for a set without classes; optional for a split
                      that is not scored)
instances/<split>/*.png   instance ids, optional
or <split>/images/*   <split>/masks/*.png   <split>/instances/*.png
"""
IMAGES = ("images", "image", "imgs", "img", "jpegimages")
MASKS = (
    *("masks", "mask", "labels", "label", "annotations", "annotation", "annots", "annot", "gt"),
    *("groundtruth", "ground_truth", "segmentationclass", "segmentations"),
)
INSTANCES = ("instances",)
SEPARATORS = ("_", "-", ".", " ")
"""What divides a picture's name from the ending of its mask's name."""
ALIASES = {"train": ("training",), "val": ("valid", "validation")}
"""Other names of the folder of a split."""

Named = dict[str, list[Path]]
"""Files by name: the path below their folder without suffix, in Unicode's composed form."""


@dataclass(frozen=True)
class _Part:
    """Where one split lies; `masks` and `instances` are where these are expected, there or not."""

    images: Path
    masks: Path
    instances: Path
    needs_masks: bool


def find(spec: DatasetSpec) -> Listing:
    """List images, masks and instance maps of each split; see `patchbank.datasets.layouts`."""
    search = Search()
    parts = _parts(spec, search)
    listing = {split: _items(spec, search, part) for split, part in parts.items()}
    _say_unread(spec, search, parts)
    return Listing(listing, search.left_out)


def _parts(spec: DatasetSpec, search: Search) -> dict[str, _Part]:
    """Where each split lies, by the words that the folders are called."""
    root = spec.root
    top = search.content(root) if root.is_dir() else None
    images = _folder(spec, search, root, IMAGES) if top else None
    if images is not None:
        inside = {split: _split(search, images, split) for split in spec.splits}
        if not any(inside.values()) and search.below(images):
            return _without_splits(spec, search, images)
        stray = search.pictures(images)
        if stray:
            problem = f"{images} holds folders and pictures ({stray[0].name}); keep one of both."
            raise missing_tree(spec, EXPECTED_TREE, problem)
        masks, instances = (_folder(spec, search, root, words) or root / words[0] for words in (MASKS, INSTANCES))
        return {
            split: _Part(
                folder or images / split,
                _split(search, masks, split) or masks / split,
                _split(search, instances, split) or instances / split,
                masks_needed(spec, split),
            )
            for split, folder in inside.items()
        }
    if top is None:
        problem = f"{root} is a file, not a folder." if root.is_file() else f"{root} does not exist."
        raise missing_tree(spec, EXPECTED_TREE, problem)
    of_splits = {split: _split(search, root, split) for split in spec.splits}
    if not top.pictures and any(of_splits.values()):
        return {split: _beside(spec, search, folder or root / split, split) for split, folder in of_splits.items()}
    if not search.below(root, dict.fromkeys(_labels(search, root), "")):
        left_out = "; ".join(told(search.left_out, root))
        raise missing_tree(spec, EXPECTED_TREE, f"{root} holds no picture{left_out and f'; left out: {left_out}'}.")
    return _without_splits(spec, search, root)


def _without_splits(spec: DatasetSpec, search: Search, images: Path) -> dict[str, _Part]:
    """The same pictures for every split."""
    masks, instances = (_folder(spec, search, spec.root, words) or spec.root / words[0] for words in (MASKS, INSTANCES))
    return dict.fromkeys(spec.splits, _Part(images, masks, instances, bool(spec.classes)))


def _beside(spec: DatasetSpec, search: Search, folder: Path, split: str) -> _Part:
    """A split whose `folder` holds the pictures or, side by side, folders of pictures and of masks."""
    images = _folder(spec, search, folder, IMAGES) or folder
    masks = _folder(spec, search, folder, MASKS)
    if masks is None and images == folder:  # train/ beside train_masks/, or masks/train/
        names = {f"{split}{between}{word}" for word in MASKS for between in ("_", "")}
        common = _folder(spec, search, spec.root, MASKS)
        masks = _folder(spec, search, spec.root, sorted(names)) or (common and _split(search, common, split))
    instances = _folder(spec, search, folder, INSTANCES) or folder / INSTANCES[0]
    return _Part(images, masks or folder / MASKS[0], instances, masks_needed(spec, split))


def _folder(spec: DatasetSpec, search: Search, folder: Path, words: Sequence[str]) -> Path | None:
    """The sub-folder that is called one of `words`; the first word wins, and several others must not hold pictures."""
    folders = search.content(folder).folders if folder.is_dir() else ()
    called = [path for path in folders if path.name.lower() in words]
    first = [path for path in called if path.name == words[0]]
    if first or len(called) < 2:
        return next(iter(first or called), None)
    full = [path for path in called if Search().below(path)]
    if len(full) > 1 and (spec.classes or words is not MASKS):
        listed = " and ".join(map(str, full))
        raise missing_tree(spec, EXPECTED_TREE, f"one thing is in more than one place: {listed}; keep or rename one.")
    return (full or called)[0]


def _split(search: Search, folder: Path, split: str) -> Path | None:
    """The sub-folder of a split, by its name or by another common one."""
    folders = search.content(folder).folders if folder.is_dir() else ()
    exact = [path for path in folders if path.name == split]
    others = [path for path in folders if path.name.lower() in (split.lower(), *ALIASES.get(split, ()))]
    return next(iter(exact or others), None) if exact or len(others) == 1 else None


def _labels(search: Search, top: Path, read: Sequence[Path] = ()) -> dict[Path, str]:
    """Folders of labels below `top`, which are no pictures to look at, with a reason for those that are not `read`."""
    labels: dict[Path, str] = {}
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        for path in () if folder != top and search.holds_results(folder) else search.content(folder).folders:
            if path.name.lower() in (*MASKS, *INSTANCES):
                inside = any(one.is_relative_to(path) for one in read)
                labels[path] = "" if inside else "folders of labels among the pictures"
            elif not path.is_symlink():
                waiting.append(path)
    return labels


def _items(spec: DatasetSpec, search: Search, part: _Part) -> list[Item]:
    """The triples of a split."""
    if not part.images.is_dir():
        raise missing_tree(spec, EXPECTED_TREE, f"{part.images} does not exist.")
    images = search.below(part.images, _labels(search, part.images, (part.masks, part.instances)))
    if not images:
        raise missing_tree(spec, EXPECTED_TREE, f"{part.images} holds no picture.")
    masks = _masks(spec, search, part) if spec.classes else None
    instances = _named(search.below(part.instances), part.instances) if part.instances.is_dir() else None
    names = _named(images, part.images)
    if masks is not None:
        masks = _without_ending(names, masks)
        _check_pairs(spec, part, names, masks)
    return [
        (path, _partner(part.masks, part, path, name, masks), _partner(part.instances, part, path, name, instances))
        for name, paths in names.items()
        for path in paths
    ]


def _masks(spec: DatasetSpec, search: Search, part: _Part) -> Named:
    """Masks by name; none where a split that is not scored has no folder of them."""
    if part.masks.is_dir():
        return _named(search.below(part.masks), part.masks)
    if part.needs_masks:
        raise missing_tree(spec, EXPECTED_TREE, f"{part.masks} does not exist.")
    return {}


def _named(paths: Sequence[Path], top: Path) -> Named:
    named: Named = {}
    for path in paths:
        name = without_suffix(relative(top, path))
        named.setdefault(unicodedata.normalize("NFC", name), []).append(path)
    return named


def _check_pairs(spec: DatasetSpec, part: _Part, images: Named, masks: Named) -> None:
    """Refuse pictures that would share a mask, masks that would share a picture, and masks without a picture."""
    for paths in [*images.values(), *masks.values()]:
        if len(paths) > 1:
            raise missing_tree(spec, EXPECTED_TREE, f"{paths[0].parent}: {alike(paths)}; keep one.")
    for name, paths in masks.items():
        if name not in images:
            near = _elsewhere(name, images)
            hint = f"; the mask of {near} belongs into the same sub-folder of {part.masks}" if near else ""
            raise missing_tree(spec, EXPECTED_TREE, f"{paths[0]} has no picture {name}.* in {part.images}{hint}.")


def _without_ending(images: Named, masks: Named) -> Named:
    """Masks by the names of their pictures where all of them have one ending more, as `a_mask.png` of `a.jpg`."""
    if any(name in images for name in masks):
        return masks
    pictures = {
        name: next((name[:end] for end in range(len(name), 0, -1) if name[:end] in images), "") for name in masks
    }
    endings = {name[len(picture) :] for name, picture in pictures.items()}
    if len(endings) != 1 or not all(pictures.values()) or not next(iter(endings)).startswith(SEPARATORS):
        return masks
    return {pictures[name]: paths for name, paths in masks.items()}


def _elsewhere(name: str, images: Named) -> Path | None:
    """The picture that has this name in another sub-folder; None where there is none, or several."""
    last = PurePosixPath(name).name
    others = [paths[0] for other, paths in images.items() if PurePosixPath(other).name == last]
    return others[0] if len(others) == 1 else None


def _partner(folder: Path, part: _Part, image: Path, name: str, named: Named | None) -> Path | None:
    """The file of the image's name; where there is none, the path that was expected."""
    if named is None:
        return None
    paths = named.get(name)
    return paths[0] if paths else folder / f"{without_suffix(relative(part.images, image))}.png"


def _say_unread(spec: DatasetSpec, search: Search, parts: dict[str, _Part]) -> None:
    """Note what lies beside the folders that are read."""
    read = {folder for part in parts.values() for folder in (part.images, part.masks, part.instances)}
    above = {parent for path in read for parent in path.parents if parent.is_relative_to(spec.root)}
    for folder in sorted(above - read):  # what is read is read with everything below it
        if not folder.is_dir():
            continue
        for path in (*search.content(folder).pictures, *search.content(folder).folders):
            if not any(one == path or one.is_relative_to(path) for one in read):
                search.leave(path, "files and folders beside those that are read")
    unread = {part.masks for part in parts.values() if not spec.classes and part.masks.is_dir()}
    for folder in sorted(unread):
        search.leave(folder, "folders of masks, which are read where classes are named")
