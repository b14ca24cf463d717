"""The protocols in the words of a reader who did not write the code, and the order in which they are shown.

The ids are those of the specification's table; an id that is not listed here is shown last, without a sentence.
"""

from __future__ import annotations

HEADLINE = "hungarian"
"""The protocol whose score stands in the first line and whose classes are shown one by one."""

MEANING = {
    "per_image": (
        "Inside each image, every segment is given the true class that it overlaps best, and the overlap (IoU) is "
        "averaged over the classes of the image and then over the images; it asks only whether segments follow "
        "objects, it uses the labels of the very image it scores, and more segments alone raise it."
    ),
    "per_image_hungarian": (
        "Inside each image, segments and true classes are matched one to one by overlap, and hits and misses are "
        "added up per class over the set."
    ),
    "hungarian": (
        "There are as many clusters as classes, and one matching of clusters to classes, chosen to put the most "
        "pixels right over the whole set, names them all: one cluster, one class."
    ),
    "hungarian_iou": (
        "As `hungarian`, but the matching maximises the overlap (IoU) instead of the number of pixels, and clusters "
        "left over count as the first class."
    ),
    "overcluster": (
        "There are many more clusters than classes, and each cluster goes to the class it is most precise for "
        "(`precision`) or overlaps best (`iou`), so several clusters may share a class; the labels of the scored "
        "images choose the class."
    ),
    "objects": (
        "Segments are compared with single objects instead of classes: FG-ARI counts pairs of foreground pixels that "
        "are rightly together or apart, mBO averages the best overlap of each object."
    ),
}
"""One sentence for each protocol id, in the order of the tables."""

VARIANTS = ("", "precision", "iou", "without_first", "fg_ari", "mbo")
"""Variants in the order of the tables."""


def score_name(protocol: str, variant: str | None = None) -> str:
    """What the score of a protocol is called: mIoU, and for `objects` what its variant says (without one: score)."""
    if protocol != "objects":
        return "mIoU"
    return {"fg_ari": "FG-ARI", "mbo": "mBO"}.get(variant or "", "score")


def order(protocol: str) -> tuple[int, str]:
    """Sort key of a protocol id: the order of `MEANING`, unknown ids last by name."""
    known = list(MEANING)
    return (known.index(protocol) if protocol in MEANING else len(known), protocol)


def variant_order(variant: str) -> tuple[int, str]:
    """Sort key of a variant: the order of `VARIANTS`, unknown ones last by name."""
    return (VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS), variant)
