"""Look into Person: flat folders and one list a split.

Source: the tree that TransFGU's code reads, which is that of the set's archives put side by side.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
<split>_images/*.jpg   <split>_segmentations/*.png   <split>_id.txt
segmentations are optional for a split that is not scored
"""


def find(spec: DatasetSpec) -> Listing:
    """List images and masks of each split; see `patchbank.datasets.layouts`."""
    return {split: _items(spec, split) for split in spec.splits}


def _items(spec: DatasetSpec, split: str) -> list[Item]:
    folder, masks, names = (spec.root / f"{split}_{end}" for end in ("images", "segmentations", "id.txt"))
    for path in (folder, masks, names) if masks_needed(spec, split) else (folder, names):
        if not path.exists():
            raise missing_tree(spec, EXPECTED_TREE, f"{path} does not exist.")
    listed = [without_suffix(name) for name in parse_list(names.read_bytes())]
    if not listed:
        raise missing_tree(spec, EXPECTED_TREE, f"{names} names no image.")
    images = by_stem(list_files(folder))
    return [
        (path, masks / f"{stem}.png" if spec.classes else None, None)
        for stem in listed
        for path in images.get(stem, [folder / f"{stem}.jpg"])
    ]
