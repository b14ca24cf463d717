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

import numpy as np

from patchbank.evaluation.counts import Counts
from patchbank.evaluation.measures import Floats, Score, mean, ratio

CLUSTERS = "image"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Scores `""` and `without_first`."""
    iou = image_ious(counts)
    present = ~np.isnan(iou)
    rest = iou.copy()
    several = np.flatnonzero(present.sum(1) > 1)
    rest[several, present.argmax(1)[several]] = np.nan
    return {"": _score(iou), "without_first": _score(rest)}


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


def _score(iou: Floats) -> Score:
    entered = ~np.isnan(iou)
    values = np.where(entered, iou, 0.0)
    return Score(mean(ratio(values.sum(1), entered.sum(1))), ratio(values.sum(0), entered.sum(0)))
