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
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchbank.evaluation.counts import Counts, CountsFile, apply_table, confusion
from patchbank.evaluation.measures import Floats, ratio
from patchbank.evaluation.protocols.per_image import image_ious
from patchbank.evaluation.terms import class_sums
from patchbank.files import read_json, read_npz
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

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {image: row for row, image in enumerate(self.images)}

    def of(self, image: str) -> dict[str, float]:
        """Scores of one image by name; empty where it has none."""
        row = self._rows[image]
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
    counted = file[column.variant]
    clusters = counted if column.table is None else apply_table(counted, column.table, len(column.assignment))
    assignment = np.asarray(column.assignment, dtype=np.int64)
    iou = image_ious(counted)
    present = ~np.isnan(iou)
    sums = class_sums(clusters, assignment, empty=np.nan)
    matched = np.where(present, ratio(sums.right, sums.union), 0.0)
    scores = {"matched": 100 * ratio(matched.sum(1), present.sum(1))}
    if column.table is not None:
        scores["per_image"] = 100 * ratio(np.nan_to_num(iou).sum(1), present.sum(1))
    return ImageScores(counted.images, scores, matched_confusion(clusters, assignment))


def stored_scores(folder: Path, method: str) -> ImageScores | None:
    """Scores of a method's images from the files of a finished run, of the run that its matching names.

    Args:
        folder: `results/<dataset>`.
        method: a row of its report.

    Raises:
        UserError: a file is missing.
    """
    matching = read_json(folder / method / "scores.json")["matching"]
    if not matching or not matching["assignment"]:
        return None
    run = folder / method / f"seed{matching['training_seed']}"
    tables = tables_beside(folder, method, matching["training_seed"])
    table = read_npz(tables)[matching["variant"]] if tables.is_file() else None
    variant = "segments" if table is not None else matching["variant"]
    return image_scores(PanelColumn(method, run, variant, table, matching["assignment"]), run / "counts.npz")


def tables_beside(folder: Path, method: str, seed: int) -> Path:
    """Segment clusters of a row's training in `results/<dataset>`; post-processing reads those of its source."""
    tables = folder / method / f"seed{seed}" / "clusters.npz"
    source = folder / method.split("+")[0] / f"seed{seed}" / "clusters.npz"
    return tables if tables.is_file() else source


def matched_confusion(clusters: Counts, assignment: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pixels (C, C + 1) of each true class (row) in the clusters of each class (column; the last is none)."""
    matrix = np.zeros((clusters.classes + 1, clusters.classes), dtype=np.int64)
    np.add.at(matrix, assignment, confusion(clusters))  # index -1 is the last row
    return matrix.T
