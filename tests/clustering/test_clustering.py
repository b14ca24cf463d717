"""Projection, k-means, token k-means, floors, segment clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bank_factory import extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st
from jobs import predict_job, train_job
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.decomposition import PCA

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.bank.sample import sample_tokens
from patchbank.bank.statistics import Statistics, compute_statistics
from patchbank.clustering.kmeans import KMeansSettings, assign, cap, fit_kmeans, scores
from patchbank.clustering.projection import Projection, ProjectionSettings, fit_projection
from patchbank.config.load import default_config
from patchbank.errors import UserError
from patchbank.methods.contract import run_predict, run_train, traits
from patchbank.methods.floors.predict import voronoi
from patchbank.predictions import PredictionReader, PredictionRecord, PredictionWriter
from patchbank.seeds import generator
from patchbank.segments.cluster import _sample, cluster_segments, pool_segments
from patchbank.segments.settings import SegmentClusterSettings


def blobs(seed: int = 0, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    centres = rng.standard_normal((4, 8)) * 6
    return (centres[labels] + rng.standard_normal((count, 8))).astype(np.float32), labels


def test_pca_and_whitening_agree_with_scikit_learn() -> None:
    points, _ = blobs()
    projection = fit_projection(points, ProjectionSettings(centre="mean", pca=3, whiten=True))
    ours = projection(points)
    theirs = PCA(3, whiten=True).fit_transform(points)
    theirs *= np.sign((ours * theirs).sum(0)) * np.sqrt(len(points) / (len(points) - 1))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    np.testing.assert_allclose(np.cov(ours.T, bias=True), np.eye(3), atol=1e-3)


def test_centring_uses_the_given_statistics_and_normalising_gives_unit_rows() -> None:
    points, _ = blobs()
    moments = Statistics(np.full(8, 2.0), np.full(8, 4.0), 10)
    np.testing.assert_allclose(fit_projection(points, ProjectionSettings("none"))(points), points, atol=1e-6)
    centred = fit_projection(points, ProjectionSettings("standardise"), moments)(points)
    np.testing.assert_allclose(centred, (points - 2) / 4, atol=1e-6)
    unit = fit_projection(points, ProjectionSettings("mean", normalise=True), moments)(points)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    again = Projection.from_arrays(fit_projection(points, ProjectionSettings("mean", pca=2)).arrays())
    assert again(points).shape == (600, 2)
    with pytest.raises(UserError, match="needs pca"):
        ProjectionSettings(whiten=True)


def test_kmeans_finds_what_scikit_learn_finds_and_repeats_its_bits() -> None:
    points, labels = blobs()
    fit = fit_kmeans(points, 4, 3, KMeansSettings(niter=30, nredo=5))
    found = assign(points, fit.centroids, spherical=False)
    reference = SklearnKMeans(4, n_init=5, random_state=0).fit(points)
    inertia = ((points - fit.centroids[found]) ** 2).sum()
    assert inertia == pytest.approx(reference.inertia_, rel=1e-3)
    assert len({(a, b) for a, b in zip(found.tolist(), labels.tolist(), strict=True)}) == 4
    again = fit_kmeans(points, 4, 3, KMeansSettings(niter=30, nredo=5))
    assert fit.centroids.tobytes() == again.centroids.tobytes()
    assert fit.objective[-1] <= fit.objective[0]


@given(st.integers(1, 40), st.booleans(), st.integers(0, 10))
def test_assignment_is_the_nearest_centroid(count: int, spherical: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, centroids = rng.standard_normal((count, 5)), rng.standard_normal((3, 5)).astype(np.float32)
    found = assign(points, centroids, spherical)
    slow = [
        int(np.argmax(centroids @ p)) if spherical else int(np.argmin(((centroids - p) ** 2).sum(1))) for p in points
    ]
    assert found.tolist() == slow
    assert scores(points.astype(np.float32), centroids, spherical).shape == (count, 3)


def test_bad_points_are_named() -> None:
    with pytest.raises(UserError, match="needs at least 5 points, got 2"):
        fit_kmeans(np.zeros((2, 3), np.float32), 5, 0, KMeansSettings())
    with pytest.raises(UserError, match="not finite"):
        fit_kmeans(np.full((9, 3), np.nan, np.float32), 2, 0, KMeansSettings())
    assert [cap(300, 320), cap(21, 1000), cap(5, 2)] == [80, 21, 1]


@given(st.integers(1, 30), st.integers(2, 12), st.integers(2, 12), st.integers(0, 5))
def test_voronoi_cells_are_nearest_points(q: int, h: int, w: int, seed: int) -> None:
    labels = voronoi((h, w), q, generator("v", seed))
    points = generator("v", seed).random((q, 2))
    assert labels.shape == (h, w)
    y, x = h // 2, w // 3
    centre = np.array([(y + 0.5) / h, (x + 0.5) / w])
    assert labels[y, x] == np.argmin(((points - centre) ** 2).sum(1))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_images(folder, 9)
    for split in ("train", "val"):
        extract_all(folder, ExtractSettings("whole", {"size": 64}, batch_tokens=64), split)
    compute_statistics(folder / "whole.json", folder / "statistics.npz")
    return folder


def test_token_sample_is_bounded_even_and_without_repeats(world: Path) -> None:
    bank = open_bank(world / "whole.json")
    tokens = sample_tokens(bank, 50, 0)
    everything = bank.read(np.arange(9), ("tokens",))["tokens"].reshape(9, 16, -1).astype(np.float32)
    assert tokens.shape == (50, 192)
    assert len(np.unique(tokens, axis=0)) == 50
    counts = [sum((t == e).all(-1).any() for t in tokens) for e in everything]
    assert set(counts) <= {5, 6}
    assert len(sample_tokens(bank, 10_000, 0)) == 9 * 16
    assert not np.array_equal(tokens, sample_tokens(bank, 50, 1))
    # all tokens of every image, in place of the pages that hold the sampled ones
    chosen = [generator("token-sample", 0, image) for image in bank.images]
    order = [rng.choice(16, count, replace=False) for rng, count in zip(chosen, counts, strict=True)]
    np.testing.assert_array_equal(
        tokens, np.concatenate([e[np.sort(i)] for e, i in zip(everything, order, strict=True)])
    )
    checked = sample_tokens(open_bank(world / "whole.json", check=True), 50, 0)
    np.testing.assert_array_equal(tokens, checked)
    with pytest.raises(IndexError):
        bank.tokens_at(9, np.array([0]))


def test_a_part_of_the_segments_is_that_part_of_all(world: Path, tmp_path: Path) -> None:
    images = open_bank(world / "whole.json").images
    labels = np.random.default_rng(0).integers(0, 4, (9, 4, 4))
    record = PredictionRecord("toy", "train", "m", "segments", 0, "nearest", (64, 64))
    with PredictionWriter(tmp_path / "t.h5", record, images, {"segments": 4}, (4, 4)) as writer:
        writer.write_labels("segments", 0, labels)
    given = (world / "whole.json", tmp_path / "t.h5", Statistics.load(world / "statistics.npz"))
    settings = SegmentClusterSettings(k=(2,), sample=7)
    expected = []
    for image, embeddings, used in pool_segments(*given, "mean"):
        kept = used & (generator("segment-sample", 3, image).random(4) < 7 / 36)
        expected.append(embeddings[kept])
    assert 0 < sum(map(len, expected)) < 20
    assert any(len(part) == 0 for part in expected)
    np.testing.assert_array_equal(_sample(*given, settings, 3), np.concatenate(expected))


def test_kmeans_method_predicts_the_nearest_centroid_of_every_token(world: Path, tmp_path: Path) -> None:
    settings = {
        "k": [3, 70],
        "kmeans_seeds": [0, 1],
        "sample": 1000,
        "projection": {"centre": "mean", "pca": 8, "whiten": False, "normalise": False},
        "kmeans": {"niter": 5, "nredo": 1},
    }
    common = {"statistics": world / "statistics.npz", "settings": settings}
    run_train(train_job("kmeans", tmp_path, banks={"whole": world / "whole.json"}, **common))
    assert (tmp_path / "epochs.csv").read_text().count("\n") == 5
    checkpoint = tmp_path / "checkpoint.safetensors"
    banks = {"whole": world / "val-whole.json"}
    run_predict(predict_job("kmeans", tmp_path / "val.h5", banks=banks, checkpoint=checkpoint, **common))
    with PredictionReader(tmp_path / "val.h5") as reader:
        assert reader.variants == {"k3-s0": 3, "k3-s1": 3, "k70-s0": 36, "k70-s1": 36}
        labels = reader.labels("k3-s0", 0, 9)
        assert labels.shape == (9, 4, 4)
        assert len(np.unique(labels)) == 3


@pytest.mark.parametrize(("name", "used"), [("single", 1), ("voronoi-3", 3), ("image-kmeans-3", 3)])
def test_floors_give_segments_that_repeat(world: Path, tmp_path: Path, name: str, used: int) -> None:
    method = default_config().floor("msrc", name)
    found = []
    for seed in (0, 0, 1):
        given = {"banks": {"whole": world / "whole.json"}, "statistics": world / "statistics.npz", "seed": seed}
        run_predict(predict_job("floors", tmp_path / "p.h5", settings=method.settings, split="train", **given))
        with PredictionReader(tmp_path / "p.h5") as reader:
            found.append(reader.labels("segments", 0, 9))
    np.testing.assert_array_equal(found[0], found[1])
    assert max(len(np.unique(labels)) for labels in found[0]) == used
    assert (name == "single") == np.array_equal(found[0], found[2])
    assert traits("floors").floor


def test_segment_embeddings_are_centred_means_and_clusters_follow_them(world: Path, tmp_path: Path) -> None:
    bank = open_bank(world / "whole.json")
    labels = np.zeros((9, 4, 4), dtype=np.int64)
    labels[:, :2] = 1
    labels[0] = 0  # the first image uses one segment of three
    for split, path in (("train", "t.h5"), ("val", "v.h5")):
        images = open_bank(world / ("whole.json" if split == "train" else "val-whole.json")).images
        record = PredictionRecord("toy", split, "m", "segments", 0, "nearest", (64, 64))
        with PredictionWriter(tmp_path / path, record, images, {"segments": 3}, (4, 4)) as writer:
            writer.write_labels("segments", 0, labels)
    moments = Statistics.load(world / "statistics.npz")
    found = list(pool_segments(world / "whole.json", tmp_path / "t.h5", moments, "mean"))
    tokens = bank.read([4], ("tokens",))["tokens"].reshape(16, -1).astype(np.float64)
    expected = tokens[:8].mean(0) - moments.mean
    np.testing.assert_allclose(found[4][1][1], expected / np.linalg.norm(expected), atol=1e-3)
    assert [image for image, _, _ in found] == bank.images
    assert found[0][2].tolist() == [True, False, False]
    scaled = list(pool_segments(world / "whole.json", tmp_path / "t.h5", moments, "standardise"))[4][1][1]
    np.testing.assert_allclose(scaled, (v := expected / moments.std) / np.linalg.norm(v), atol=1e-3)
    settings = SegmentClusterSettings(k=(2, 50), kmeans_seeds=(0, 1))
    cluster_segments(
        world / "whole.json",
        tmp_path / "t.h5",
        world / "val-whole.json",
        tmp_path / "v.h5",
        world / "statistics.npz",
        settings,
        0,
        tmp_path / "clusters.npz",
    )
    with np.load(tmp_path / "clusters.npz") as tables:
        assert tables["tables"].tolist() == ["k2-s0", "k2-s1", "k50-s0", "k50-s1"]
        assert tables["k_used"].tolist() == [2, 2, 4, 4]  # a quarter of 17 segments
        assert tables["points"].tolist() == [17] * 4
        table = tables["k2-s0"]
    assert table.shape == (9, 3)
    assert (table[:, 2] == -1).all()
    assert set(table[:, 0].tolist()) <= {0, 1}
    few = SegmentClusterSettings(k=(2,), kmeans_seeds=(0,), sample=8)
    paths = (world / "whole.json", tmp_path / "t.h5", world / "val-whole.json", tmp_path / "v.h5")
    cluster_segments(*paths, world / "statistics.npz", few, 0, tmp_path / "few.npz")
    with np.load(tmp_path / "few.npz") as tables:
        assert 0 < tables["points"][0] < 17


def test_predictions_of_other_images_are_refused(world: Path, tmp_path: Path) -> None:
    record = PredictionRecord("toy", "train", "m", "segments", 0, "nearest", (64, 64))
    with PredictionWriter(tmp_path / "p.h5", record, ["0" * 16], {"segments": 2}, (4, 4)) as writer:
        writer.write_labels("segments", 0, np.zeros((1, 4, 4), dtype=int))
    with pytest.raises(UserError, match="hold different images"):
        list(pool_segments(world / "whole.json", tmp_path / "p.h5", Statistics.load(world / "statistics.npz"), "mean"))


def test_an_entry_of_kmeans_may_whiten_by_itself() -> None:
    shared = {
        "k": [3], "kmeans_seeds": [0], "centre": "mean", "projection": {"pca": 8, "whiten": False, "normalise": False},
        "kmeans": {},
    }  # fmt: skip
    from patchbank.methods.kmeans.settings import resolve

    assert resolve({}, shared)["projection"]["whiten"] is False
    assert resolve({"whiten": True, "pca": 4}, shared)["projection"] == {
        "centre": "mean", "pca": 4, "whiten": True, "normalise": False,
    }  # fmt: skip
    with pytest.raises(UserError, match="whiten: true needs pca"):
        resolve({"whiten": True, "pca": 0}, shared)
