"""Simulated: how often a 95 % interval of few trainings holds the true difference."""

from __future__ import annotations

import numpy as np
import pytest

from patchbank.evaluation.paired import Resampled, compare, draw_images
from patchbank.evaluation.terms import ImageMeans

IMAGES, CASES = 60, 500
WEIGHTS = draw_images(np.arange(IMAGES), IMAGES, 0, 200)
TRUTH = 0.03
SPREADS = {"images": (0.3, 0.01, 0.02), "both": (0.3, 0.04, 0.05), "trainings": (0.1, 0.08, 0.02)}
"""Deviations of an image's difference, of a training, and of what a training does to one image."""


def method(rng: np.random.Generator, images: np.ndarray, trainings: range, spread: tuple[float, ...]) -> Resampled:
    found = Resampled(WEIGHTS)
    for training in trainings:
        values = images + rng.normal(0, spread[1]) + rng.normal(0, spread[2], IMAGES)
        found.add((training, None), ImageMeans(values))
    return found


def holds(rng: np.random.Generator, trainings: int, spread: tuple[float, ...], apart: bool) -> bool:
    """Whether the interval of one simulated comparison holds the truth."""
    hard = rng.normal(0.5, 0.2, IMAGES)
    better = hard + TRUTH + rng.normal(0, spread[0], IMAGES)
    others = range(trainings, 2 * trainings) if apart else range(trainings)
    one, two = method(rng, better, range(trainings), spread), method(rng, hard, others, spread)
    found = compare(one, two)
    return found.low <= TRUTH <= found.high


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("trainings", [3, 5, 10])
def test_nominal_95_percent_hold_in_93_of_100(trainings: int, name: str, apart: bool) -> None:
    rng = np.random.default_rng(trainings)
    share = np.mean([holds(rng, trainings, SPREADS[name], apart) for _ in range(CASES)])
    assert 0.93 <= share <= 0.985
