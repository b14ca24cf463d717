"""Paired comparisons: terms of images against the protocols, resamples against obvious loops, intervals that know."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pixel_counts import C, Images, instance_counts, make_counts, scenes

from patchbank.evaluation import protocols
from patchbank.evaluation.measures import assigned_iou
from patchbank.evaluation.paired import (
    Resampled,
    compare,
    draw_images,
    image_terms,
)
from patchbank.evaluation.terms import ImageMeans

NAMES = [name for name in protocols.names() if protocols.get(name).labels == "class"]


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(NAMES), st.sampled_from([2, 4, 6]))
def test_terms_of_all_images_are_the_score(data: st.DataObject, name: str, k: int) -> None:
    counts = make_counts(data.draw(scenes(k)), k, C)
    scores, terms = protocols.get(name).evaluate(counts), image_terms(name, counts)
    assert {variant: term.value() for variant, term in terms.items()} == {v: s.value for v, s in scores.items()}
    once = np.ones((1, len(counts.images)), np.uint16)
    for variant, term in terms.items():
        assert term.resampled(once)[0] == pytest.approx(scores[variant].value, abs=1e-12)


def test_terms_of_scenes_are_the_scores_of_objects() -> None:
    rng = np.random.default_rng(0)
    counts = instance_counts([(rng.integers(0, 4, 50), rng.integers(0, 3, 50)) for _ in range(5)], 4)
    scores, terms = protocols.get("objects").evaluate(counts), image_terms("objects", counts)
    assert {variant: term.value() for variant, term in terms.items()} == {v: s.value for v, s in scores.items()}


@settings(deadline=None, max_examples=30)
@given(scenes(k=4), st.integers(0, 2**32 - 1))
def test_a_resample_is_the_score_of_the_copied_images(images: Images, seed: int) -> None:
    """With the matching of the full set; an image drawn twice is there twice."""
    times = np.random.default_rng(seed).multinomial(len(images), np.full(len(images), 1 / len(images)))
    copies = make_counts([image for image, count in zip(images, times, strict=True) for _ in range(count)], 4, C)
    counts = make_counts(images, 4, C)
    for name, empty in (("hungarian", np.nan), ("hungarian_iou", 0.0), ("overcluster", 0.0)):
        for variant, score in protocols.get(name).evaluate(counts).items():
            assert score.assignment is not None
            pixels = np.zeros((4, C), np.int64)
            np.add.at(pixels, (copies.segment, copies.klass), copies.count)
            iou = assigned_iou(pixels, score.assignment, empty)
            expected = np.nanmean(iou) if (~np.isnan(iou)).any() else np.nan
            found = image_terms(name, counts)[variant].resampled(times[None].astype(np.uint16))
            assert found[0] == pytest.approx(expected, nan_ok=True)
    for variant, score in protocols.get("per_image").evaluate(copies).items():
        found = image_terms("per_image", counts)[variant].resampled(times[None].astype(np.uint16))
        assert found[0] == pytest.approx(score.value, nan_ok=True)


def test_only_labelled_images_are_drawn_as_many_as_there_are() -> None:
    weights = draw_images(np.array([0, 2, 3]), 5, resamples=400)
    assert weights.shape == (400, 5)
    assert (weights.sum(1) == 3).all()
    assert not weights[:, [1, 4]].any()
    assert weights[:, [0, 2, 3]].mean(0) == pytest.approx([1, 1, 1], abs=0.15)
    assert (weights == draw_images(np.array([0, 2, 3]), 5, resamples=400)).all()
    assert (weights != draw_images(np.array([0, 2, 3]), 5, seed=1, resamples=400)).any()


def means(scores: dict[tuple[int, int | None], np.ndarray], seed: int = 0) -> Resampled:
    n = len(next(iter(scores.values())))
    found = Resampled(draw_images(np.arange(n), n, seed, 4000))
    for run, values in scores.items():
        found.add(run, ImageMeans(values))
    return found


def test_interval_of_image_means_is_that_of_the_paired_differences() -> None:
    rng = np.random.default_rng(1)
    hard = rng.random(200)  # images differ much, methods little: only pairs can tell
    b = hard * 0.8
    a = b + 0.02 + rng.normal(0, 0.03, 200)
    found = compare(means({(0, None): a}), means({(0, None): b}))
    assert found.difference == pytest.approx((a - b).mean())
    half = 1.96 * (a - b).std() / np.sqrt(200)
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half), abs=half * 0.15)
    assert found.low > 0 or found.high < 0
    assert compare(means({(0, None): b}), means({(0, None): a})).high < 0
    same = compare(means({(0, None): b}), means({(0, None): b}))
    assert same.low <= 0 <= same.high


def test_equal_seeds_are_drawn_together_and_others_apart() -> None:
    flat = {(t, s): np.full(30, 0.1 * t + 0.01 * s) for t in range(3) for s in range(4)}
    higher = {run: values + 0.05 for run, values in flat.items()}
    paired = compare(means(higher), means(flat))
    assert (paired.low, paired.high) == pytest.approx((0.05, 0.05))
    apart = compare(means({(t + 1, s): values for (t, s), values in higher.items()}), means(flat))
    assert apart.difference == pytest.approx(0.05)
    assert apart.low < 0 < apart.high
    assert compare(means(higher), means({(7, None): np.full(30, 0.1)})).difference == pytest.approx(0.065)


def test_the_spread_over_trainings_widens_the_interval() -> None:
    """Three differences 0, 0.1, 0.2: Student's interval of three values, 4.303 times 0.1 / sqrt(3)."""
    still = {(t, None): np.full(30, 0.5) for t in range(3)}
    shaky = {(t, None): np.full(30, 0.5 + 0.1 * t) for t in range(3)}
    found = compare(means(shaky), means(still))
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-6)


def test_of_one_training_its_kmeans_seeds_count() -> None:
    one = {(5, s): np.full(30, 0.5 + 0.1 * s) for s in range(3)}
    found = compare(means(one), means({run: np.full(30, 0.5) for run in one}))
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-6)


def test_resamples_must_be_the_same() -> None:
    a = means({(0, None): np.zeros(3)})
    with pytest.raises(ValueError, match="other resamples"):
        compare(a, means({(0, None): np.zeros(3)}, seed=1))
