"""Moments that do not cancel, and one centring for all who use them: a constant channel is never scaled up."""

from __future__ import annotations

from functools import reduce
from operator import add
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from patchbank import open_bank
from patchbank.bank.centring import CONSTANT, Centring, moments, shift_and_scale
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import Statistics, compute_statistics
from patchbank.bank.sums import Sums
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.errors import UserError
from patchbank.segments.cluster import embed_segments

VALUES = hnp.arrays(np.float32, st.tuples(st.integers(2, 40), st.just(3)), elements=st.floats(-50, 50, width=32))


def old(sums: Sums) -> Sums:
    """As a shard of before says it: sum and sum of squares only."""
    return Sums(sums.count, sums.total, sums.square)


def in_parts(tokens: np.ndarray, sizes: list[int]) -> Sums:
    return reduce(add, [Sums.of(part) for part in np.split(tokens, np.cumsum(sizes)[:-1])])


def test_sums_by_hand() -> None:
    sums = Sums.of(np.array([[1.0, 5.0], [3.0, 5.0]])) + Sums.of(np.array([[8.0, 5.0]]))
    np.testing.assert_array_equal(sums.total, [12, 15])
    np.testing.assert_array_equal(sums.square, [74, 75])
    np.testing.assert_allclose(sums.about_mean, [26, 0], atol=1e-14)  # (1-4)^2 + (3-4)^2 + (8-4)^2
    mean, std = sums.moments()
    np.testing.assert_array_equal(mean, [4, 5])
    np.testing.assert_allclose(std, [np.sqrt(26 / 3), 0])


@given(VALUES, st.integers(1, 39))
def test_squares_about_the_mean_do_not_depend_on_the_cut(tokens: np.ndarray, first: int) -> None:
    values = tokens.astype(np.float64) + np.array([0, 1e3, 1e6])
    first = min(first, len(values) - 1)
    together, apart = Sums.of(values), in_parts(values, [first, len(values) - first])
    expected = ((values - values.mean(0)) ** 2).sum(0)
    scale = 1e-12 * (expected + 1) + 1e-20 * len(values) * np.array([1e4, 1e7, 1e13])
    for sums in (together, apart):
        assert sums.about_mean is not None
        assert (np.abs(sums.about_mean - expected) <= 100 * scale).all()


@given(VALUES)
@settings(max_examples=50)
def test_ordinary_channels_keep_the_bits_of_older_statistics(tokens: np.ndarray) -> None:
    values = tokens.astype(np.float64)
    sums = Sums.of(values)
    mean, std = sums.moments()
    before = np.sqrt(np.maximum(sums.square / sums.count - (sums.total / sums.count) ** 2, 0.0))
    ordinary = before**2 > 2e-6 * mean**2
    np.testing.assert_array_equal(std[ordinary], before[ordinary])


def test_a_small_deviation_beside_a_large_mean_is_exact() -> None:
    rng = np.random.default_rng(0)
    values = 1e6 + 1e-3 * rng.standard_normal((5000, 2))
    _, std = in_parts(values, [1000, 1, 3999]).moments()
    np.testing.assert_allclose(std, values.std(0), rtol=1e-6)
    _, cancelled = old(Sums.of(values)).moments()
    assert not np.allclose(cancelled, values.std(0), rtol=0.01)


@pytest.mark.parametrize("aged", [False, True])
def test_a_constant_channel_of_a_float32_bank_is_not_scaled(aged: bool) -> None:
    tokens = np.random.default_rng(0).standard_normal((4000, 3)).astype(np.float32)
    tokens[:, 1] = 0.3
    parts = [Sums.of(part.astype(np.float64)) for part in np.split(tokens, 4)]
    sums = reduce(add, [old(part) for part in parts] if aged else parts)
    statistics = Statistics(*sums.moments(), sums.count)
    if not aged:
        assert statistics.std[1] < 1e-14
    centring = Centring.of(statistics, "standardise", 3)
    assert centring.std is not None
    assert centring.std[1] == 1
    centred = centring(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(centred.std(0), [1, 0, 1], atol=1e-3)
    assert np.abs(centred[:, 1]).max() < 1e-6


def test_the_floor_is_relative_to_the_mean() -> None:
    mean, std = np.array([0.0, 0.0, 1e4, 1e4, -1e4]), np.array([0.9, 1.1, 0.9e4, 1.1e4, 0.9e4]) * CONSTANT
    centring = Centring.of(Statistics(mean, std, 9), "standardise")
    assert centring.std is not None
    np.testing.assert_array_equal(centring.std.numpy(), [1, std[1], 1, std[3], 1])


def test_what_each_centre_does() -> None:
    statistics = Statistics(np.array([1.0, -2.0]), np.array([2.0, 0.0]), 5)
    tokens = torch.tensor([[3.0, 4.0]])
    expected = {"none": [3.0, 4.0], "mean": [2.0, 6.0], "standardise": [1.0, 6.0]}
    for centre, values in expected.items():
        centring = Centring.of(statistics, centre, 2)
        shift, scale = shift_and_scale(statistics, centre, 2)
        assert centring(tokens).tolist() == [values]
        assert ((tokens.numpy() - shift) * scale).tolist() == [values]
        assert centring.to("cpu")(tokens).tolist() == [values]
    shift, scale = Centring.of(statistics, "standardise").shift_and_scale()
    assert shift is not None
    assert scale is not None
    assert (shift.dtype, shift.tolist(), scale.tolist()) == (torch.float32, [1, -2], [0.5, 1])


def test_statistics_have_to_be_there_and_to_fit() -> None:
    with pytest.raises(UserError, match="centre is 'mean', which needs the statistics of the train bank"):
        Centring.of(None, "mean", 3)
    with pytest.raises(UserError, match="have width 2, the bank's tokens have 3"):
        Centring.of(moments(np.zeros((4, 2))), "standardise", 3)


def test_a_constant_channel_does_not_become_the_embedding_of_a_segment_or_of_a_point() -> None:
    tokens = np.random.default_rng(0).standard_normal((4000, 4)).astype(np.float32)
    tokens[:, 3] = 0.3
    statistics = Statistics(tokens.mean(0, dtype=np.float64), np.array([1, 1, 1, 3.7e-9]), 4000)
    shift, scale = shift_and_scale(statistics, "standardise", 4)
    segments, _ = embed_segments(np.arange(4000) % 2, tokens, 2, shift, scale)
    assert np.abs(segments[:, 3]).max() < 1e-3
    for given_statistics in (statistics, None):
        points = fit_projection(tokens, ProjectionSettings("standardise", normalise=True), given_statistics)(tokens)
        assert np.abs(points[:, 3]).max() < 1e-3


def test_shards_without_squares_about_the_mean_give_the_same_statistics(tmp_path: Path) -> None:
    make_images(tmp_path, 9)
    pointer = extract_all(tmp_path, ExtractSettings("whole", {"size": 32}, dtype="float32", images_per_shard=4))
    now = compute_statistics(pointer, tmp_path / "now.npz")
    for shard in open_bank(pointer).folder.glob("0*.h5"):
        with h5py.File(shard, "r+") as file:
            assert file["square_sum_about_mean"].shape == file["sum"].shape
            del file["square_sum_about_mean"]
    before = compute_statistics(pointer, tmp_path / "before.npz")
    np.testing.assert_array_equal(now.mean, before.mean)
    np.testing.assert_array_equal(now.std, before.std)
    assert (now.count, (tmp_path / "now.npz").read_bytes()) == (before.count, (tmp_path / "before.npz").read_bytes())


@given(st.floats(2.0**-20, 2.0**20, width=32))
def test_a_scale_that_a_head_keeps_in_float32_comes_back_from_its_deviation(kept: float) -> None:
    scale = torch.tensor([kept], dtype=torch.float32)
    centring = Centring(torch.zeros(1, dtype=torch.float64), scale.double().reciprocal())
    assert torch.equal(centring.shift_and_scale()[1], scale)  # type: ignore[arg-type]
