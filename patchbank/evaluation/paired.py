"""Paired comparison of two methods: how sure is the difference of their scores, over images and seeds?

The 95 % interval has two levels, images and trainings. What images bring is the variance of the difference over a
bootstrap of the images (10,000 resamples, seeded, the same for every method of a set), all runs kept. What trainings
bring is the variance between the differences of trainings, each the mean over its k-means seeds, divided by their
number; where the two methods have not the same runs, that of each method by itself. The interval is t-like, with
Satterthwaite's degrees of freedom for the sum of both, so that three trainings count as the three values that they are.
Percentiles of a bootstrap that draws trainings as well are too narrow: simulated, nominal 95 % of three trainings held
in 77 to 92 of 100 cases, depending on how much trainings differ, and those of this module in 93 to 97, as with five and
ten (`tests/evaluation/test_evaluation_intervals.py`).

The matching of clusters and classes is that of the full set and is not made again in a resample: cluster 3 is what
the method and the protocol made it, and a matching chosen again on a resample with the same image three times would
be fitted to those copies, so each resample would score a little higher than new images would. Resampled scores thus
say how the score of these clusters with these names varies; that another sample of images may name them otherwise is
left out, and it is of the same kind for both methods.

With one training the interval speaks of that training alone, and its k-means seeds take the place of trainings.
Method: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 6, for the variance over images;
Satterthwaite, An Approximate Distribution of Estimates of Variance Components (1946), https://doi.org/10.2307/3002019.
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


def compare(a: Resampled, b: Resampled) -> Difference:
    """Difference a - b of two methods on the same resamples of the images.

    Args:
        a, b: with the same weights.

    Raises:
        ValueError: other resamples.
    """
    if a.weights is not b.weights and not np.array_equal(a.weights, b.weights):
        raise ValueError("the methods were scored on other resamples; draw the images once.")
    full = float(np.mean(list(a.scores.values())) - np.mean(list(b.scores.values())))
    parts = [_of_images(a, b), *_of_trainings(a, b)]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return Difference(full, full, full)
    freedom = variance**2 / sum(part**2 / max(1, free) for part, free in parts)
    half = float(_t_quantile(freedom) * np.sqrt(variance))
    return Difference(full, full - half, full + half)


def interval(a: Resampled) -> Difference:
    """Score of one method with its interval, over images and trainings as of a difference."""
    nothing = Resampled(a.weights, dict.fromkeys(a.scores, 0.0), {run: np.zeros(len(a.weights)) for run in a.scores})
    return compare(a, nothing)


def _of_images(a: Resampled, b: Resampled) -> tuple[float, int]:
    """Variance of the difference over images, and its degrees of freedom."""
    images = int(a.weights[0].sum())
    values = np.mean(list(a.resamples.values()), axis=0) - np.mean(list(b.resamples.values()), axis=0)
    known = values[np.isfinite(values)]
    if images < 2 or len(known) < 2:
        return 0.0, 1
    # a bootstrap's variance is that of the images at hand, which lacks one degree of freedom
    return float(known.var(ddof=1)) * images / (images - 1), images - 1


def _of_trainings(a: Resampled, b: Resampled) -> list[tuple[float, int]]:
    """Variance of the mean over trainings, and its degrees of freedom: of pairs, or of each method by itself."""
    ours, others = _units(a), _units(b)
    if set(a.scores) == set(b.scores):
        return _of_mean([ours[unit] - others[unit] for unit in ours])
    return _of_mean(list(ours.values())) + _of_mean(list(others.values()))


def _units(method: Resampled) -> dict[int, float]:
    """Mean score of every training; of one training alone, the score of every k-means seed."""
    trainings = {training for training, _ in method.scores}
    level = 0 if len(trainings) > 1 else 1
    values: dict[int, list[float]] = {}
    for run, score in sorted(method.scores.items(), key=lambda item: _order(item[0])):
        values.setdefault(_order(run)[level], []).append(score)
    return {unit: float(np.mean(scores)) for unit, scores in values.items()}


def _of_mean(values: list[float]) -> list[tuple[float, int]]:
    return [(float(np.var(values, ddof=1)) / len(values), len(values) - 1)] if len(values) > 1 else []


def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def _order(run: Run) -> tuple[int, int]:
    return run[0], -1 if run[1] is None else run[1]
