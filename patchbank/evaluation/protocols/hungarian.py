"""Protocol `hungarian` (TransFGU, STEGO, PiCIE): one matching of clusters and classes for the whole set.

One confusion matrix n[k, c]; clusters and classes are matched one to one so that the matched PIXEL COUNT
sum_c n[k(c), c] is largest. IoU per class = n[k(c), c] / (|k(c)| + |c| - n[k(c), c]). A class leaves the mean only
where this is 0/0 (absent, and its cluster has no pixel); an absent class whose cluster has pixels counts 0, and so
does a class that found no cluster. Accuracy = matched / all labelled pixels. Class accuracy = mean over the classes
present of n[k(c), c] / |c|. Pixels of an unmatched cluster are wrong: they count in |c| and in the accuracy.
Ties: any of the best matchings (scipy's, rows are classes); the accuracy does not depend on it.

Source: TransFGU's evaluation code, https://github.com/damo-cv/TransFGU (golden of its metrics).
"""

from __future__ import annotations

import numpy as np

from patchbank.evaluation.counts import Counts, confusion
from patchbank.evaluation.measures import Ints, Score, assigned_iou, best_pairs, mean, ratio
from patchbank.evaluation.terms import Terms, class_sums

CLUSTERS = "classes"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Score `""` with accuracies and the assignment."""
    pixels = confusion(counts)
    assignment = _match(pixels)
    clusters = np.flatnonzero(assignment >= 0)
    right = np.zeros(counts.classes, np.int64)
    right[assignment[clusters]] = pixels[clusters, assignment[clusters]]
    iou = assigned_iou(pixels, assignment, empty=np.nan)
    accuracy = ratio(right.sum(), pixels.sum())
    class_accuracy = mean(ratio(right, pixels.sum(0)))
    return {"": Score(mean(iou), iou, float(accuracy), class_accuracy, assignment)}


def terms(counts: Counts) -> dict[str, Terms]:
    """What each image brings to the score, given the matching of the full set."""
    return {"": class_sums(counts, _match(confusion(counts)), empty=np.nan)}


def _match(pixels: Ints) -> Ints:
    """Class (K,) of each cluster, -1 = none."""
    classes, clusters = best_pairs(pixels.T, maximize=True)
    assignment = np.full(len(pixels), -1, np.int64)
    assignment[clusters] = classes
    return assignment
