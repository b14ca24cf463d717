"""Protocol `per_image` (AlignSeg): segments have no identity across images, each image is scored alone.

Inside an image every segment k goes to the class c with the highest precision n[k, c] / sum_c n[k, c] (ties: the
lowest class; only classes present in that image). Several segments may share a class. IoU of every class present (0
where no segment went to it), mean over the image's classes, mean over images. Variant `without_first` leaves the
lowest class present out of each image's mean; an image with one class keeps it. Images without a labelled pixel are
not scored. `per_class` is the mean IoU of a class over the images where it entered; its mean over classes is
another number than the score.

More segments alone raise this score: read it beside its floors. Source: AlignSeg's evaluation code,
https://github.com/yliu1229/AlignSeg (golden of its metrics).
"""

from __future__ import annotations

import numpy as np

from patchbank.evaluation.counts import Counts
from patchbank.evaluation.measures import Floats, Score, mean, ratio
from patchbank.evaluation.terms import ImageMeans, Terms

CLUSTERS = "image"
LABELS = "class"
CLASS_MEAN = False


def evaluate(counts: Counts) -> dict[str, Score]:
    """Scores `""` and `without_first`."""
    return {variant: _score(iou) for variant, iou in _variants(counts).items()}


def terms(counts: Counts) -> dict[str, Terms]:
    """The score of each image by variant."""
    return {variant: ImageMeans(_image_scores(iou)) for variant, iou in _variants(counts).items()}


def image_ious(counts: Counts) -> Floats:
    """IoU (n, C) of each class in each image, NaN where the class is not in the image."""
    n, classes = len(counts.images), counts.classes
    image, segment = counts.image.astype(np.int64), counts.segment.astype(np.int64)
    pair = image * counts.segments + segment
    # the first entry of each (image, segment) in this order is its largest count, lowest class on ties
    order = np.lexsort((counts.klass, -counts.count, pair))
    pairs, first = np.unique(pair[order], return_index=True)
    given = counts.klass[order][first][np.searchsorted(pairs, pair)]
    size = n * classes
    truth = np.bincount(image * classes + counts.klass, counts.count, size)
    predicted = np.bincount(image * classes + given, counts.count, size)
    right = given == counts.klass
    matched = np.bincount((image * classes + counts.klass)[right], counts.count[right], size)
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
