"""AlignSeg's `coco-thing`: semantic maps of COCO's panoptic annotations (category ids; 0 and 200 are ignored).

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
masks   in          annotations/panoptic_annotations/semantic_segmentation_{train2017,val2017}/*.png
"""
MASKS = ("annotations/panoptic_annotations/semantic_segmentation_{split}",)


def find(spec: DatasetSpec) -> Listing:
    """List images and masks of each split; see `patchbank.datasets.layouts`."""
    return find_in(spec, EXPECTED_TREE, MASKS)
