"""Any folder of images, with or without labels: our own layout.

`images/<split>/*` with masks of the same stem in `masks/<split>/*` and, where there are any, instance maps in
`instances/<split>/*`. Without sub-folders (`images/*`, or pictures in the root itself) the same pictures serve as train
and eval split. A set without class names is unlabelled, and `masks/` is not read; instance maps are, for protocols that
need no classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.datasets.layouts import Item, Listing, by_stem, list_files, masks_needed, missing_tree
from patchbank.datasets.listing import SUFFIXES, alike

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
images/<split>/*      pictures (or images/* without splits, or pictures in the folder itself)
masks/<split>/*.png   class ids, same stem as the picture (not read for a set without classes; optional for a split
                      that is not scored)
instances/<split>/*.png   instance ids, optional
"""


def find(spec: DatasetSpec) -> Listing:
    """List images, masks and instance maps of each split; see `patchbank.datasets.layouts`."""
    top = spec.root / "images"
    if not top.is_dir():
        pictures = _pictures(spec.root)
        if not pictures:
            raise missing_tree(spec, EXPECTED_TREE, f"{top} does not exist.")
        return {split: _items(spec, pictures, "") for split in spec.splits}
    content = list_files(top)
    folders = [path for path in content if path.is_dir()]
    if folders and len(folders) < len(content):
        stray = next(path for path in content if path.is_file())
        raise missing_tree(spec, EXPECTED_TREE, f"{top} holds folders and pictures ({stray.name}); keep one of both.")
    if content and not folders:
        return {split: _items(spec, content, "") for split in spec.splits}
    return {split: _items(spec, _files(spec, "images", split), split) for split in spec.splits}


def _pictures(folder: Path) -> list[Path]:
    """The files of the root, where at least one looks like a picture (then the scan names those that are none)."""
    files = [path for path in list_files(folder) if not path.is_dir()] if folder.is_dir() else []
    return files if any(path.name.lower().endswith(SUFFIXES) for path in files) else []


def _items(spec: DatasetSpec, images: list[Path], split: str) -> list[Item]:
    """The triples of these pictures; masks lie in the folder of `split` ("" = without splits)."""
    if not images:
        raise missing_tree(spec, EXPECTED_TREE, f"{spec.root / 'images' / split} holds no picture.")
    masks = _masks(spec, split) if spec.classes else None
    folder = spec.root / "instances" / split
    instances = by_stem(list_files(folder)) if folder.is_dir() else None
    stems = by_stem(images)
    if masks is not None:
        _check_pairs(spec, stems, masks)
    return [
        (path, _partner(spec, "masks", split, stem, masks), _partner(spec, "instances", split, stem, instances))
        for stem, paths in stems.items()
        for path in paths
    ]


def _masks(spec: DatasetSpec, split: str) -> dict[str, list[Path]]:
    """Masks by stem; none where a split that is not scored has no folder of them ("" serves both splits)."""
    needed = not split or masks_needed(spec, split)
    return by_stem(_files(spec, "masks", split) if needed or (spec.root / "masks" / split).is_dir() else ())


def _check_pairs(spec: DatasetSpec, images: dict[str, list[Path]], masks: dict[str, list[Path]]) -> None:
    """Refuse pictures that would share a mask, masks that would share a picture, and masks without a picture."""
    for paths in [*images.values(), *masks.values()]:
        if len(paths) > 1:
            raise missing_tree(spec, EXPECTED_TREE, f"{paths[0].parent}: {alike(paths)}; keep one.")
    place = next(iter(images.values()))[0].parent
    for stem, paths in masks.items():
        if stem not in images:
            raise missing_tree(spec, EXPECTED_TREE, f"{paths[0]} has no picture {stem}.* in {place}.")


def _files(spec: DatasetSpec, kind: str, split: str) -> list[Path]:
    folder = spec.root / kind / split
    if not folder.is_dir():
        raise missing_tree(spec, EXPECTED_TREE, f"{folder} does not exist.")
    return list_files(folder)


def _partner(spec: DatasetSpec, kind: str, split: str, stem: str, found: dict[str, list[Path]] | None) -> Path | None:
    """The file of the same stem; where there is none, the path that was expected."""
    if found is None:
        return None
    paths = found.get(stem)
    return paths[0] if paths else spec.root / kind / split / f"{stem}.png"
