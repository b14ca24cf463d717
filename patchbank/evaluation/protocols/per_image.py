"""Protocol `per_image` (AlignSeg): segments have no identity across images, each image is scored alone.

Inside an image every segment k goes to the class c with the highest precision n[k, c] / sum_c n[k, c] (ties: the
lowest class; only classes present in that image). Several segments may share a class. IoU of every class present (0
where no segment went to it), mean over the image's classes, mean over images. Variant `without_first` leaves the
lowest class present out of each image's mean; an image with one class keeps it. Images without a labelled pixel are
not scored. `per_class` is the mean IoU of a class over the images where it entered; its mean over classes is
another number than the score.

More segments alone raise this score: read it beside its floors. Source: AlignSeg's evaluation code (golden
`alignseg_metrics`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.evaluation.counts import Counts
from patchbank.evaluation.measures import Floats, Score, mean, ratio
from patchbank.evaluation.terms import ImageMeans, Terms

CLUSTERS = "image"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Scores `""` and `without_first`."""
    return {variant: _score(iou) for variant, iou in _variants(counts).items()}


def terms(counts: Counts) -> dict[str, Terms]:
    """The score of each image by variant."""
    return {variant: ImageMeans(_image_scores(iou)) for variant, iou in _variants(counts).items()}


def image_ious(counts: Counts) -> Floats:
    """IoU (n, C) of each class in each image, NaN where the class is not in the image."""
    pair = counts.image * np.int64(counts.segments) + counts.segment
    # the first entry of each (image, segment) in this order is its largest count, lowest class on ties
    order = np.lexsort((counts.klass, -counts.count, pair))
    pairs, first = np.unique(pair[order], return_index=True)
    return given_ious(counts, counts.klass[order][first][np.searchsorted(pairs, pair)])


def given_ious(counts: Counts, given: NDArray[np.integer[Any]]) -> Floats:
    """IoU (n, C) of each class in each image, where every entry of the counts is given to a class.

    Args:
        counts: m entries.
        given: (m,) class that the entry's segment stands for, -1 for none (its pixels are wrong).

    Returns:
        NaN where the class is not in the image.
    """
    n, classes = len(counts.images), counts.classes
    size = n * classes
    true = counts.image * np.int64(classes) + counts.klass
    said = counts.image * np.int64(classes) + given
    named, right = given >= 0, given == counts.klass
    truth = np.bincount(true, counts.count, size)
    predicted = np.bincount(said[named], counts.count[named], size)
    matched = np.bincount(true[right], counts.count[right], size)
    iou = ratio(matched, truth + predicted - matched)
    iou[truth == 0] = np.nan
    return iou.reshape(n, classes)


def _variants(counts: Counts) -> dict[str, Floats]:
    """IoU (n, C) of what enters the score, NaN elsewhere, by variant."""
    iou = image_ious(counts)
    present = ~np.isnan(iou)
    rest = iou.copy()
    several = np.flatnonzero(present.sum(1) > 1)
    rest[several, present.argmax(1)[several]] = np.nan
    return {"": iou, "without_first": rest}


def _image_scores(iou: Floats) -> Floats:
    """Mean (n,) over the classes of each image, NaN without one."""
    return ratio(np.nan_to_num(iou).sum(1), (~np.isnan(iou)).sum(1))


def _score(iou: Floats) -> Score:
    per_class = ratio(np.nan_to_num(iou).sum(0), (~np.isnan(iou)).sum(0))
    return Score(mean(_image_scores(iou)), per_class)
