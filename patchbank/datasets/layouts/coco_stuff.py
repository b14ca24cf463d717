"""AlignSeg's `coco-stuff`: the pixel maps of COCO's stuff annotations (category ids 92-182; 0 and 183 are ignored).

Images and lists lie as in the layout `coco`; which raw value is which class stands in the set's table (`codings`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchbank.datasets.layouts import Listing
from patchbank.datasets.layouts.coco import LISTS as LISTS
from patchbank.datasets.layouts.coco import find_in

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

EXPECTED_TREE = """
images, lists       as in the layout coco, e.g. images/{train2017,val2017}/*.jpg
masks   in one of   annotations/stuff_annotations/stuff_{train2017,val2017}_pixelmaps/*.png
                    annotations/stuff_{train2017,val2017}_pixelmaps/*.png
"""
MASKS = ("annotations/stuff_annotations/stuff_{split}_pixelmaps", "annotations/stuff_{split}_pixelmaps")


def find(spec: DatasetSpec) -> Listing:
    """List images and masks of each split; see `patchbank.datasets.layouts`."""
    return find_in(spec, EXPECTED_TREE, MASKS)
