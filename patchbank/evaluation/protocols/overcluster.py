"""Protocol `overcluster` (Leopart, NeCo): more clusters than classes, each cluster goes to one class.

Variant `precision`: cluster k goes to argmax_c n[k, c] / |k|; variant `iou`: to
argmax_c n[k, c] / (|k| + |c| - n[k, c]). Ties: the lowest class. All clusters of a class are merged; IoU per class;
mean over ALL classes: a class without cluster counts 0, absent classes too. No cluster is left out.

Source: Leopart's evaluation code as AlignSeg uses it, https://github.com/yliu1229/AlignSeg (golden of its
metrics, `overcluster_*`); it drops the last short batch, this does not.
"""

from __future__ import annotations

from patchbank.evaluation.counts import Counts, confusion
from patchbank.evaluation.measures import Ints, Score, assigned_iou, mean, pairwise_iou
from patchbank.evaluation.terms import Terms, class_sums

CLUSTERS = "more"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Scores `precision` and `iou` with their assignments."""
    pixels = confusion(counts)
    scores = {}
    for variant, assignment in _assignments(pixels).items():
        iou = assigned_iou(pixels, assignment, empty=0.0)
        scores[variant] = Score(mean(iou), iou, assignment=assignment)
    return scores


def terms(counts: Counts) -> dict[str, Terms]:
    """What each image brings to the scores, given the assignments of the full set."""
    return {variant: class_sums(counts, given, empty=0.0) for variant, given in _assignments(confusion(counts)).items()}


def _assignments(pixels: Ints) -> dict[str, Ints]:
    """Class (K,) of each cluster by variant."""
    # the most precise class of a cluster is the one with most pixels: its size divides all of them
    return {"precision": pixels.argmax(1), "iou": pairwise_iou(pixels).argmax(1)}
