"""Scores of single images, from the counts of one training: which images a method does best and worst.

Inputs: the counts file of the run that the pictures show, its table of segment clusters, and the assignment of
clusters to classes. Two scores, both the mean IoU over the classes present in the image, at the pixels of the
report's preprocessing:

- `matched`: every cluster stands for the class that `hungarian` matches it to over the whole set; this is what the
  pictures show. An unmatched cluster's pixels are wrong.
- `per_image`: every segment stands for the class of this image that it is most precise for, the protocol of that
  name; only for methods whose segments have no identity across images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchbank.evaluation.counts import Counts, CountsFile, apply_table, confusion
from patchbank.evaluation.measures import Floats, ratio
from patchbank.evaluation.protocols.per_image import given_ious, image_ious
from patchbank.report.panel import PanelColumn

SCORES = ("matched", "per_image")


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Scores of the images of one method, and the confusion matrix behind them.

    Attributes:
        images: content ids.
        scores: by name (see the module), (n,) float64 percent; NaN for an image without a labelled pixel.
        confusion: (C, C + 1) int64 pixels, rows true classes, columns the classes that the clusters are matched to;
            the last column holds clusters that are matched to none.
    """

    images: tuple[str, ...]
    scores: dict[str, Floats]
    confusion: NDArray[np.int64]

    def of(self, image: str) -> dict[str, float]:
        """Scores of one image by name; empty where it has none."""
        row = self.images.index(image)
        return {name: float(values[row]) for name, values in self.scores.items() if not np.isnan(values[row])}


def image_scores(column: PanelColumn, counts: Path) -> ImageScores | None:
    """Score every image of one column of the gallery.

    Args:
        column: the method, with its assignment.
        counts: counts file of the same training.

    Returns:
        None where no pixel is labelled, or clusters have no assignment to classes.
    """
    file = CountsFile(counts)
    if not len(column.assignment) or file.label_kind != "class":
        return None
    own = file[column.variant]
    clusters = own if column.table is None else apply_table(own, column.table, len(column.assignment))
    assignment = np.asarray(column.assignment, dtype=np.int64)
    scores = {"matched": _mean(given_ious(clusters, assignment[clusters.segment]))}
    if column.table is not None:
        scores["per_image"] = _mean(image_ious(own))
    return ImageScores(own.images, scores, matched_confusion(clusters, assignment))


def matched_confusion(clusters: Counts, assignment: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels (C, C + 1) of each true class (row) in the clusters of each class (column; the last is none)."""
    matrix = np.zeros((clusters.classes + 1, clusters.classes), dtype=np.int64)
    np.add.at(matrix, assignment, confusion(clusters))  # index -1 is the last row
    return matrix.T


def _mean(iou: Floats) -> Floats:
    """Percent (n,), mean over the classes that are in the image; NaN without one."""
    present = ~np.isnan(iou)
    return 100 * ratio(np.where(present, iou, 0.0).sum(1), present.sum(1))
