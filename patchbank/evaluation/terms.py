"""What each image brings to a score, so that a score can be had of any resample of the images.

A protocol's optional `terms(counts)` gives one of two kinds by variant, given the matching of clusters and classes on
the full set: `ImageMeans` (a score an image, averaged) or `ClassSums` (pixels an image and class, summed, then IoU).
Reduced over all images once each, both are the protocol's score to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.evaluation.counts import Counts
from patchbank.evaluation.measures import Floats, Ints, mean, ratio

BLOCK = 512
"""Resamples that are reduced at a time, so that their weights need no float64 array of all."""

Weights = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class ImageMeans:
    """A score that is the mean over images.

    Args:
        scores: (n,) score of each image, NaN where it is not scored.
    """

    scores: Floats

    def value(self) -> float:
        """The score of the set, 0-1."""
        return mean(self.scores)

    def resampled(self, weights: Weights) -> Floats:
        """Scores (r,) of resamples that take image i `weights[:, i]` times; NaN where no image is scored."""
        kept = ~np.isnan(self.scores)
        return ratio(*_weighted(weights, np.stack([np.where(kept, self.scores, 0.0), kept], axis=1)).T)


@dataclass(frozen=True, eq=False)
class ClassSums:
    """A score that is the mean over classes of tp / (tp + fp + fn), each summed over images.

    Args:
        right: (n, C) pixels of each class in segments that are given to it (tp).
        union: (n, C) pixels of the class or of segments that are given to it (tp + fp + fn).
        empty: IoU of a class whose union is 0: 0, or NaN where it leaves the mean.
    """

    right: Floats
    union: Floats
    empty: float

    def value(self) -> float:
        """The score of the set, 0-1."""
        return mean(ratio(self.right.sum(0), self.union.sum(0), self.empty))

    def resampled(self, weights: Weights) -> Floats:
        """Scores (r,) of resamples that take image i `weights[:, i]` times; NaN where no class is scored.

        A class that no drawn image has, and whose segments have no pixel there, is treated as the protocol does.
        """
        sums = _weighted(weights, np.concatenate([self.right, self.union], axis=1))
        right, union = np.split(sums, 2, axis=1)
        iou = ratio(right, union, self.empty)
        kept = ~np.isnan(iou)
        return ratio(np.where(kept, iou, 0.0).sum(1), kept.sum(1))


Terms = ImageMeans | ClassSums


def class_sums(counts: Counts, assignment: Ints, empty: float) -> ClassSums:
    """Terms of a protocol that gives each segment id one class for the whole set.

    Args:
        counts: of segments 0..K-1.
        assignment: (K,) class of each segment, -1 = none.
        empty: see `ClassSums`.
    """
    given = assignment[counts.segment]
    named, hit = given >= 0, given == counts.klass
    right = _by_class(counts, counts.klass, hit)
    union = _by_class(counts, counts.klass) + _by_class(counts, given, named) - right
    return ClassSums(right, union, empty)


def _by_class(counts: Counts, klass: NDArray[Any], chosen: NDArray[np.bool_] | slice = slice(None)) -> Floats:
    """Pixels (n, C) of the chosen entries by image and `klass`."""
    key = (counts.image * np.int64(counts.classes) + klass)[chosen]
    size = len(counts.images) * counts.classes
    pixels = np.bincount(key, counts.count[chosen], size).astype(np.float64)
    return pixels.reshape(len(counts.images), counts.classes)


def _weighted(weights: Weights, columns: Floats) -> Floats:
    """weights @ columns in float64, (r, m); whole numbers below 2**53 stay exact."""
    return np.concatenate([block.astype(np.float64) @ columns for block in _blocks(weights)])


def _blocks(weights: Weights) -> Iterator[Weights]:
    for start in range(0, len(weights), BLOCK):
        yield weights[start : start + BLOCK]
