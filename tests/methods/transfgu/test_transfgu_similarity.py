"""Token similarity with image segments in place of tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bank_factory import extract_all, make_images

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.statistics import Statistics, compute_statistics
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.methods.transfgu.similarity import fit_token_classes, image_tokens


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, Statistics]:
    folder: Path = tmp_path_factory.mktemp("similarity")
    make_images(folder, 9)
    bank = extract_all(folder, ExtractSettings("whole", {"size": 64}))
    compute_statistics(bank, folder / "statistics.npz")
    return open_bank(bank), Statistics.load(folder / "statistics.npz")


def test_a_map_is_the_cosine_of_the_segments_mean(world: tuple[Bank, Statistics]) -> None:
    bank, statistics = world
    classes = fit_token_classes(bank, statistics, TransFGUSettings(things=3, pca=8, segments=4, niter=10), 0)
    segments = 0
    centres = classes.centroids.vectors / np.linalg.norm(classes.centroids.vectors, axis=1, keepdims=True)
    for row, image in enumerate(bank.images):
        tokens = image_tokens(bank, row)
        means, own = classes.smoothing(tokens, image)
        assert 1 < len(means) <= 4
        segments += len(means)
        for number, mean in enumerate(means):
            np.testing.assert_allclose(mean, tokens[own == number].astype(np.float64).mean(0), rtol=1e-4, atol=1e-5)
        points = classes.projection(means)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        np.testing.assert_allclose(classes.maps(tokens, image), (centres @ points.T)[:, own], rtol=1e-5, atol=1e-6)
    assert classes.centroids.members.sum() == segments


def test_without_segments_every_token_is_its_own(world: tuple[Bank, Statistics]) -> None:
    bank, statistics = world
    classes = fit_token_classes(bank, statistics, TransFGUSettings(things=3, pca=8), 0)
    means, own = classes.smoothing(image_tokens(bank, 0), bank.images[0])
    np.testing.assert_array_equal(means[own], image_tokens(bank, 0).astype(np.float32))
    assert classes.centroids.members.sum() == len(bank) * bank.tokens_per_view


def test_a_seed_gives_the_same_segments_and_another_seed_others(world: tuple[Bank, Statistics]) -> None:
    bank, statistics = world
    settings = TransFGUSettings(things=3, pca=8, segments=4, niter=1, nredo=1)
    first, again, other = (fit_token_classes(bank, statistics, settings, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.centroids.vectors, again.centroids.vectors)
    assert first.centroids.digest() != other.centroids.digest()
