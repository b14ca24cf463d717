"""Protocol `overcluster` (Leopart, NeCo): more clusters than classes, each cluster goes to one class.

Variant `precision`: cluster k goes to argmax_c n[k, c] / |k|; variant `iou`: to
argmax_c n[k, c] / (|k| + |c| - n[k, c]). Ties: the lowest class. All clusters of a class are merged; IoU per class;
mean over ALL classes: a class without cluster counts 0, absent classes too. No cluster is left out.

Source: Leopart's evaluation code (golden `alignseg_metrics`, `overcluster_*`); it drops the last short batch, this
does not.
"""

from __future__ import annotations

from patchbank.evaluation.counts import Counts, confusion
from patchbank.evaluation.measures import Ints, Score, assigned_iou, mean, pairwise_iou

CLUSTERS = "more"
LABELS = "class"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Scores `precision` and `iou` with their assignments."""
    pixels = confusion(counts)
    # the most precise class of a cluster is the one with most pixels: its size divides all of them
    return {
        "precision": _score(pixels, pixels.argmax(1)),
        "iou": _score(pixels, pairwise_iou(pixels).argmax(1)),
    }


def _score(pixels: Ints, assignment: Ints) -> Score:
    iou = assigned_iou(pixels, assignment, empty=0.0)
    return Score(mean(iou), iou, assignment=assignment)
