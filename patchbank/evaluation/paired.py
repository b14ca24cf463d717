"""Paired comparison of two methods: how sure is the difference of their scores, over images and seeds?

The 95 % interval is that of a bootstrap (percentiles of 10,000 resamples, seeded). A resample draws

- images with replacement, the same ones for every run of every method of a set;
- trainings with replacement, and for each drawn training its k-means seeds with replacement. Where both methods have
  the same training and k-means seeds, the same ones are drawn for both, else each method draws its own.

Its difference is the mean score over the drawn runs of one method minus that of the other, each on the drawn images.

The matching of clusters and classes is that of the full set and is not made again in a resample: cluster 3 is what
the method and the protocol made it, and a matching chosen again on a resample with the same image three times would
be fitted to those copies, so each resample would score a little higher than new images would. Resampled scores thus
say how the score of these clusters with these names varies; that another sample of images may name them otherwise is
left out, and it is of the same kind for both methods.

An interval knows only the seeds that ran: with three trainings it is somewhat too narrow, with one it speaks of that
training alone.
Method: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import UserError
from patchbank.evaluation import protocols
from patchbank.evaluation.counts import Counts
from patchbank.evaluation.measures import Floats
from patchbank.evaluation.terms import Terms, Weights
from patchbank.seeds import generator

RESAMPLES = 10_000
LEVEL = 0.95

Run = tuple[int, int | None]
"""Training seed and k-means seed (None where none plays a part)."""


@dataclass
class Resampled:
    """One method under one protocol: the score of each run, and of each run on each resample of the images.

    Args:
        weights: (r, n) of `draw_images`, the same for all methods of a set.
    """

    weights: Weights
    scores: dict[Run, float] = field(default_factory=dict)
    resamples: dict[Run, Floats] = field(default_factory=dict)

    def add(self, run: Run, terms: Terms) -> None:
        """Score a run on all images and on every resample; `terms` are of (n) images in one order for all runs."""
        self.scores[run] = terms.value()
        self.resamples[run] = terms.resampled(self.weights)


@dataclass(frozen=True)
class Difference:
    """Mean score of one method minus that of another, 0-1, with the bounds of its 95 % interval."""

    difference: float
    low: float
    high: float


def image_terms(protocol: str, counts: Counts) -> dict[str, Terms]:
    """What each image brings to a protocol's score, by variant.

    Args:
        protocol: id of a protocol.
        counts: of one run, on the full set.

    Raises:
        UserError: an unknown protocol, or one without `terms`.
    """
    terms = protocols.get(protocol).terms
    if terms is None:
        raise UserError(f"protocol {protocol} says nothing of single images; its file needs a function `terms`.")
    return terms(counts)


def draw_images(labelled: NDArray[np.integer[Any]], n: int, seed: int = 0, resamples: int = RESAMPLES) -> Weights:
    """How often each resample takes each image: (r, n) unsigned integers.

    Args:
        labelled: indices of the images that have labelled pixels; only they are drawn, as many as there are.
        n: number of images.
        seed: of the draws.
        resamples: r.
    """
    rng = generator("bootstrap-images", seed)
    weights = np.zeros((resamples, n), np.uint16)
    for row in weights:
        row[labelled] = np.bincount(rng.integers(0, len(labelled), len(labelled)), minlength=len(labelled))
    return weights


def draw_runs(runs: list[Run], rng: np.random.Generator, resamples: int) -> Floats:
    """Weight (r, runs) of each run in each resample: trainings with replacement, inside each its k-means seeds."""
    trainings = sorted({training for training, _ in runs})
    drawn = rng.multinomial(len(trainings), np.full(len(trainings), 1 / len(trainings)), size=resamples)
    weights = np.empty((resamples, len(runs)))
    for number, training in enumerate(trainings):
        of_training = [index for index, run in enumerate(runs) if run[0] == training]
        # a training that was drawn twice draws its k-means seeds twice: the sum of two multinomials is one
        times = rng.multinomial(drawn[:, number] * len(of_training), np.full(len(of_training), 1 / len(of_training)))
        weights[:, of_training] = times / (len(trainings) * len(of_training))
    return weights


def compare(a: Resampled, b: Resampled, seed: int = 0) -> Difference:
    """Difference a - b of two methods on the same resamples of the images.

    Args:
        a, b: with the same weights.
        seed: of the draws of runs.

    Raises:
        ValueError: other resamples.
    """
    if a.weights is not b.weights and not np.array_equal(a.weights, b.weights):
        raise ValueError("the methods were scored on other resamples; draw the images once.")
    count, ours, others = len(a.weights), sorted(a.scores, key=_order), sorted(b.scores, key=_order)
    drawn = draw_runs(ours, generator("bootstrap-runs", seed), count)
    drawn_b = drawn if ours == others else draw_runs(others, generator("bootstrap-runs-other", seed), count)
    values = _weighted(a, ours, drawn) - _weighted(b, others, drawn_b)
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    full = float(np.mean(list(a.scores.values())) - np.mean(list(b.scores.values())))
    return Difference(full, float(low), float(high))


def _weighted(method: Resampled, runs: list[Run], weights: Floats) -> Floats:
    """Mean score (r,) over the drawn runs."""
    total: Floats = (weights * np.stack([method.resamples[run] for run in runs], axis=1)).sum(1)
    return total


def _order(run: Run) -> tuple[int, int]:
    return run[0], -1 if run[1] is None else run[1]
