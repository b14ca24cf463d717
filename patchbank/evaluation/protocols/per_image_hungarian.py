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

from patchbank.evaluation.counts import Counts, image_confusions
from patchbank.evaluation.measures import Floats, Score, best_pairs, mean, pairwise_iou, ratio
from patchbank.evaluation.terms import ClassSums, Terms

CLUSTERS = "image"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Score `""`."""
    right, union = _image_sums(counts)
    iou = ratio(right.sum(0), union.sum(0))
    return {"": Score(mean(iou), iou)}


def terms(counts: Counts) -> dict[str, Terms]:
    """What each image brings to the pooled sums."""
    return {"": ClassSums(*_image_sums(counts), empty=np.nan)}


def _image_sums(counts: Counts) -> tuple[Floats, Floats]:
    """tp and tp + fp + fn (n, C) of each image and class."""
    right, union = np.zeros((2, len(counts.images), counts.classes))
    for image, _, classes, pixels in image_confusions(counts):
        rows, columns = best_pairs(pairwise_iou(pixels), maximize=True)
        matched = pixels[rows, columns]
        right[image, classes[columns]] = matched
        union[image, classes] = pixels.sum(0)
        union[image, classes[columns]] += pixels.sum(1)[rows] - matched
    return right, union
