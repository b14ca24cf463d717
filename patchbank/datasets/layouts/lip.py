"""Look into Person: flat folders and one list a split.

Source: the tree that TransFGU's code (https://github.com/damo-cv/TransFGU) reads, which is that of the set's archives
put side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchbank.datasets.layouts import Item, Listing, masks_needed, missing_tree
from patchbank.datasets.listing import Search
from patchbank.datasets.lists import Shelf, read_list

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
<split>_images/*.jpg   <split>_segmentations/*.png   <split>_id.txt
segmentations are optional for a split that is not scored
"""


def find(spec: DatasetSpec) -> Listing:
    """List images and masks of each split; see `patchbank.datasets.layouts`."""
    search = Search()
    return Listing({split: _items(spec, search, split) for split in spec.splits}, search.left_out)


def _items(spec: DatasetSpec, search: Search, split: str) -> list[Item]:
    folder, masks, names = (spec.root / f"{split}_{end}" for end in ("images", "segmentations", "id.txt"))
    for path in (folder, masks, names) if masks_needed(spec, split) else (folder, names):
        if not path.exists():
            raise missing_tree(spec, EXPECTED_TREE, f"{path} does not exist.")
    listed = read_list(names, spec.root, Shelf(search, folder, ".jpg"), Shelf(search, masks) if spec.classes else None)
    if not listed:
        raise missing_tree(spec, EXPECTED_TREE, f"{names} names no image.")
    return [(line.image, line.mask, None) for line in listed]
