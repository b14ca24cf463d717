"""Protocol `hungarian_iou` (Leopart with K = classes, Deep Spectral): matching by IoU for the whole set.

One confusion matrix n[k, c]; clusters and classes are matched one to one so that the sum of
1 - n[k, c] / (|k| + |c| - n[k, c]) is smallest. Clusters left over go to class 0 and enlarge it. IoU per class, mean
over ALL classes: a class that is absent, or has no cluster, counts 0. Ties: any of the best matchings (scipy's).

Source: Leopart's evaluation code as AlignSeg uses it, https://github.com/yliu1229/AlignSeg (golden of its
metrics, `hungarian_miou`).
"""

from __future__ import annotations

import numpy as np

from patchbank.evaluation.counts import Counts, confusion
from patchbank.evaluation.measures import Ints, Score, assigned_iou, best_pairs, mean, pairwise_iou
from patchbank.evaluation.terms import Terms, class_sums

CLUSTERS = "classes"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Score `""` with the assignment (leftover clusters: class 0)."""
    pixels = confusion(counts)
    assignment = _match(pixels)
    iou = assigned_iou(pixels, assignment, empty=0.0)
    return {"": Score(mean(iou), iou, assignment=assignment)}


def terms(counts: Counts) -> dict[str, Terms]:
    """What each image brings to the score, given the matching of the full set."""
    return {"": class_sums(counts, _match(confusion(counts)), empty=0.0)}


def _match(pixels: Ints) -> Ints:
    """Class (K,) of each cluster."""
    clusters, classes = best_pairs(1.0 - pairwise_iou(pixels))
    assignment = np.zeros(len(pixels), np.int64)
    assignment[clusters] = classes
    return assignment
