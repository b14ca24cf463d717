"""Protocol `per_image_hungarian` (DiffCut, DiffSeg): one-to-one matching inside each image, pooled over the set.

In every image segments and the classes present are matched one to one so that the sum of their IoUs is largest.
A matched pair (k, c) adds tp = n[k, c], fp = |k| - n[k, c], fn = |c| - n[k, c] to its class; a class without a
segment adds fn = |c|. An unmatched segment is false positive of no class, but its pixels are false negatives of
theirs. Score: mean over classes of tp / (tp + fp + fn), pooled over all images; classes that occur nowhere do not
enter. Ties: any of the best matchings (scipy's, deterministic for one order of segments).

Published code differs in details that change numbers (DiffCut matches by pixel count and lets leftover segments
fall on absent classes); this is the protocol as the specification words it.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from patchbank.evaluation.counts import Counts, image_confusions
from patchbank.evaluation.measures import Score, mean, pairwise_iou, ratio

CLUSTERS = "image"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Score `""`."""
    right, predicted, truth = np.zeros((3, counts.classes))
    for _, _, classes, pixels in image_confusions(counts):
        rows, columns = linear_sum_assignment(pairwise_iou(pixels), maximize=True)
        right[classes[columns]] += pixels[rows, columns]
        predicted[classes[columns]] += pixels.sum(1)[rows]
        truth[classes] += pixels.sum(0)
    iou = ratio(right, truth + predicted - right)
    return {"": Score(mean(iou), iou)}
