"""What a protocol returns, and the sums that several protocols share.

IoU of class c = tp / (tp + fp + fn), with tp the pixels of c in segments given to c, tp + fp the pixels of those
segments, tp + fn the pixels of c. All values here are fractions 0-1; reports are percent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Score:
    """One score of one run.

    Args:
        value: the score, 0-1 (mIoU in every protocol but `objects`).
        per_class: (C,) float64, what each class brings to `value`; NaN where it does not enter. None without classes.
        accuracy: share of labelled pixels that are right, where the protocol has it.
        class_accuracy: mean over classes of the share of the class's pixels that are right.
        assignment: (K,) int64 class of each segment, -1 = unmatched, where the protocol has one for the whole set.
    """

    value: float
    per_class: Floats | None = None
    accuracy: float | None = None
    class_accuracy: float | None = None
    assignment: Ints | None = None


def ratio(numerator: NDArray[Any], denominator: NDArray[Any], empty: float = np.nan) -> Floats:
    """numerator / denominator in float64, and `empty` where the denominator is 0."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), empty)
    np.divide(numerator, denominator, out=out, where=np.asarray(denominator) > 0)
    return out


def pairwise_iou(pixels: Ints) -> Floats:
    """IoU (K, C) of every segment with every class from their common pixels (K, C); 0 where both are empty."""
    union = pixels.sum(1, keepdims=True) + pixels.sum(0, keepdims=True) - pixels
    return ratio(pixels, union, empty=0.0)


def assigned_iou(pixels: Ints, assignment: Ints, empty: float) -> Floats:
    """IoU (C,) of each class with the union of the segments that are assigned to it.

    Args:
        pixels: (K, C) pixels of each segment and class.
        assignment: (K,) class of each segment, -1 = none.
        empty: value of a class that has no pixel and whose segments have none.
    """
    classes = pixels.shape[1]
    given = assignment >= 0
    merged = np.zeros((classes, classes), np.int64)
    np.add.at(merged, assignment[given], pixels[given])
    right = np.diagonal(merged)
    return ratio(right, merged.sum(1) + pixels.sum(0) - right, empty)


def best_pairs(table: NDArray[Any], maximize: bool = False) -> tuple[Ints, Ints]:
    """Rows and columns of a one-to-one matching with the least sum of `table`, or the largest; rows ascend.

    Ties: any of the best matchings (scipy's, deterministic for one order of rows and columns).
    """
    # here, because the workflow asks every protocol for its name and kind, and never for a matching
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=maximize)
    return rows, columns


def mean(values: Floats) -> float:
    """Mean of the values that are not NaN; NaN where there is none."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")
