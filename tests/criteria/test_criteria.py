"""Criteria without labels: hand-computed cases, slow ways to the same numbers, and that no label can reach them."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from bank_factory import extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import silhouette_score

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import compute_statistics
from patchbank.clustering.kmeans import KMeansSettings
from patchbank.clustering.projection import ProjectionSettings
from patchbank.criteria import measure, silhouette, stability
from patchbank.criteria.measure import Tokens, sampled, write_criteria
from patchbank.criteria.mirrored import mirror_agreement
from patchbank.criteria.settings import CriteriaSettings
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.fingerprint import reachable

QUICK = KMeansSettings(niter=10, nredo=1)
SETTINGS = CriteriaSettings(
    k=3, sample=200, repeats=2, silhouette=100, projection=ProjectionSettings(pca=4), kmeans=QUICK
)


def slow_silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """As the definition says, one point after the other."""
    found = []
    for i, point in enumerate(points.astype(np.float64)):
        others = {
            kind: [np.linalg.norm(point - points[j]) for j in np.flatnonzero(labels == kind) if j != i]
            for kind in np.unique(labels)
        }
        a, b = others[labels[i]], min(np.mean(far) for kind, far in others.items() if kind != labels[i])
        found.append(0.0 if not a or max(np.mean(a), b) == 0 else (b - np.mean(a)) / max(np.mean(a), b))
    return float(np.mean(found))


@given(
    arrays(np.float32, (9, 2), elements=st.integers(-3, 3).map(float)),
    arrays(np.int64, 9, elements=st.integers(0, 3)),
)
def test_the_silhouette_is_its_definition(points: np.ndarray, labels: np.ndarray) -> None:
    found = silhouette.silhouette(points, labels)
    if len(np.unique(labels)) < 2:
        assert found is None
    else:
        assert found == pytest.approx(slow_silhouette(points, labels), abs=1e-9)


def test_the_silhouette_of_many_points_is_made_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(150, 5)).astype(np.float32), rng.integers(0, 6, 150)
    monkeypatch.setattr(silhouette, "BLOCK", 64)
    expected = silhouette_score(points.astype(np.float64), labels)
    assert silhouette.silhouette(points, labels) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.integers(0, 20), min_size=6, max_size=60).filter(lambda ids: len(set(ids)) >= 3), st.integers(0, 3))
def test_images_are_cut_as_a_whole(ids: list[int], repeat: int) -> None:
    images = np.array(ids)
    cut = stability.parts(images, repeat)
    assert (np.sum(cut, axis=0) == 1).all()
    groups = [set(images[part]) for part in cut]
    assert all(groups)
    assert not (groups[0] & groups[1]) | (groups[0] & groups[2]) | (groups[1] & groups[2])
    assert abs(len(groups[0]) - len(groups[1])) <= 1


def test_too_few_images_have_no_stability() -> None:
    with pytest.raises(ValueError, match="2 images"):
        stability.parts(np.array([0, 1, 1]), 0)
    few = Tokens(np.ones((4, 3), np.float32), np.array([0, 0, 1, 1]))
    found = measure.measure(few, measure.Statistics(np.zeros(3), np.ones(3), 4), SETTINGS)
    assert set(found.values()) == {None}


def blobs(spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of 12 images around 3 centres."""
    rng = np.random.default_rng(seed)
    kind, images = rng.integers(0, 3, 600), np.repeat(np.arange(12), 50)
    return (10 * np.eye(3)[kind] + spread * rng.normal(size=(600, 3))).astype(np.float32), images


def test_clear_clusters_are_stable_and_noise_is_not() -> None:
    found = {}
    for spread in (0.1, 100.0):
        points, images = blobs(spread)
        fits, held = stability.fit_seeds(points, images, 3, 3, KMeansSettings(niter=20, nredo=3))
        seeds = stability.over_seeds(points[held], fits, spherical=False)
        halves = stability.over_halves(points, images, 3, 3, KMeansSettings(niter=20, nredo=3))
        assert len(halves) == 3
        found[spread] = seeds, float(np.mean(halves))
    assert found[0.1] == (1.0, 1.0)
    assert found[100.0][1] < 0.9
    assert stability.over_seeds(points, fits[:1], spherical=False) is None


def test_used_clusters_count_by_their_size() -> None:
    assert stability.effective(np.array([0, 1, 2, 3]), 4) == pytest.approx(1.0)
    assert stability.effective(np.array([2, 2, 0, 0]), 4) == pytest.approx(0.5)
    shares = np.array([0.75, 0.25])
    assert stability.effective(np.array([1, 1, 1, 0]), 2) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()) / 2)


def test_patches_are_compared_with_themselves_in_the_mirror_image() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(3, 2, 4, 5)).astype(np.float32)
    mirror = points[:, :, ::-1]
    fits = [rng.normal(size=(4, 5)).astype(np.float32) for _ in range(2)]
    flat = points.reshape(3, 8, 5)
    assert mirror_agreement(flat, mirror.reshape(3, 8, 5), (2, 4), fits, spherical=False) == 1.0
    assert mirror_agreement(flat, flat, (2, 4), fits, spherical=False) < 0.5


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("criteria")
    make_images(folder, 8)
    for recipe in ("whole", "mirrored"):
        extract_all(folder, ExtractSettings(recipe, {"size": 64}))
    compute_statistics(folder / "whole.json", folder / "statistics.npz")
    return folder


def test_every_criterion_of_a_bank_is_a_number_and_repeats(world: Path, tmp_path: Path) -> None:
    files = (world / "whole.json", world / "statistics.npz", SETTINGS)
    for out in ("one.json", "other.json"):
        write_criteria(*files, tmp_path / out, world / "mirrored.json", threads=1)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()
    found = read_json(tmp_path / "one.json")["criteria"]
    assert sorted(found) == sorted(measure.NAMES)
    assert all(-1 <= value <= 1 for value in found.values() if value is not None)
    assert None not in found.values()


def test_the_room_can_read_no_label() -> None:
    """Neither by what it is given nor by what it imports."""
    assert list(inspect.signature(measure.measure).parameters) == ["sample", "statistics", "settings"]
    assert set(Tokens.__dataclass_fields__) == {"tokens", "images", "mirrored"}
    assert list(inspect.signature(write_criteria).parameters)[:2] == ["bank", "statistics"]
    read = {"labels", "truth", "truth_file", "masks", "manifest", "patches", "evaluation"}
    for path in Path(measure.__file__).parent.glob("*.py"):
        parts = {part for name in reachable(f"patchbank.criteria.{path.stem}") for part in name.split(".")}
        assert not parts & read, path.name


def test_mirror_images_of_others_are_refused(world: Path) -> None:
    bank = open_bank(world / "whole.json")
    other = open_bank(world / "mirrored.json")
    other.images = other.images[::-1]
    with pytest.raises(UserError, match="different images"):
        sampled(bank, SETTINGS, other)
