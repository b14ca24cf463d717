"""Protocol `objects` (AlignSeg on MOVi): instances of each scene, without classes.

Variant `fg_ari`: adjusted Rand index of segments and instances over the pixels whose label is not 0. With pairs
P(x) = x (x - 1), A = sum_k P(|k|), B = sum_c P(|c|), E = A B / P(N): (sum_kc P(n[k, c]) - E) / ((A + B) / 2 - E),
and 1 where that denominator is not positive.
Variant `mbo`: mean over all labels present, INCLUDING label 0, of the best IoU with any segment (all pixels).
Both are means over scenes; a scene without labels is not scored.

Always compared at `objects_256`: soft assignments upsampled bilinearly to 256x256, then argmax.

Source: AlignSeg's evaluation code, https://github.com/yliu1229/AlignSeg (golden `object_metrics`). Needs counts of
instances; it has no mIoU, the row's score is the variant.
"""

from __future__ import annotations

import numpy as np

from patchbank.clustering.agreement import adjusted_rand
from patchbank.evaluation.counts import Counts, image_confusions
from patchbank.evaluation.measures import Floats, Score, mean, pairwise_iou
from patchbank.evaluation.terms import ImageMeans, Terms

CLUSTERS = "image"
LABELS = "instance"
CLASS_MEAN = False
PREPROCESSING = "objects_256"


def evaluate(counts: Counts) -> dict[str, Score]:
    """Scores `fg_ari` and `mbo` (means over scenes, 0-1)."""
    fg_ari, mbo = scene_scores(counts)
    return {"fg_ari": Score(mean(fg_ari)), "mbo": Score(mean(mbo))}


def terms(counts: Counts) -> dict[str, Terms]:
    """The scores of each scene by variant."""
    scenes = np.unique(counts.image)
    table = np.full((2, len(counts.images)), np.nan)
    table[:, scenes] = scene_scores(counts)
    return {"fg_ari": ImageMeans(table[0]), "mbo": ImageMeans(table[1])}


def scene_scores(counts: Counts) -> tuple[Floats, Floats]:
    """FG-ARI and mBO (s,) of each labelled scene, in the order of `counts.images`."""
    scores = [
        (adjusted_rand(pixels[:, labels != 0]), float(pairwise_iou(pixels).max(0).mean()))
        for _, _, labels, pixels in image_confusions(counts)
    ]
    table = np.array(scores, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
