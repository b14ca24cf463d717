"""k-means inside images on whitened tokens, and the metric by which its segments are clustered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_world import SHARED, head_world, train_in
from jobs import predict_job

from patchbank.bank.centring import shift_and_scale
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import load_arrays, save_arrays
from patchbank.clustering.projection import Projection
from patchbank.errors import UserError
from patchbank.inference.onnx_model import NEEDED, export_onnx
from patchbank.methods.contract import load_model, run_predict, traits
from patchbank.methods.image_kmeans_whitened.segments import segments_of
from patchbank.methods.image_kmeans_whitened.settings import resolve
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]

KMEANS = {"niter": 20, "nredo": 3}


def settings(centre: str = "mean", **own: Any) -> dict[str, Any]:
    return resolve(own, {**SHARED, "centre": centre, "kmeans": KMEANS})


def trained(world: dict[str, Path], out: Path, chosen: dict[str, Any]) -> Path:
    """The checkpoint of a row of these settings."""
    return train_in(world, "image_kmeans_whitened", out, chosen, lambda _: traits("image_kmeans_whitened"))


def test_whitening_finds_what_a_large_nuisance_hides() -> None:
    """Two halves differ along a direction of small variance; along one of large variance tokens are random."""
    rng = np.random.default_rng(0)
    half = np.arange(64) >= 32
    tokens = np.stack([30 * rng.normal(size=64), np.where(half, 1.0, -1.0) + 0.05 * rng.normal(size=64)], 1)
    plain = Projection(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), normalise=True)
    whitening = Projection(plain.shift, np.diag([1 / 3000, 1]).astype(np.float32), normalise=True)
    found = segments_of(tokens, whitening, settings(segments=2), 0, "0")
    hidden = segments_of(tokens, plain, settings(segments=2), 0, "0")
    assert len(set(zip(found, half, strict=True))) == 2
    assert len(set(zip(hidden, half, strict=True))) == 4


@pytest.mark.parametrize("centre", ["mean", "standardise"])
def test_predictions_carry_the_whitening_of_centred_tokens(
    head_world: dict[str, Path], tmp_path: Path, centre: str
) -> None:
    """Centred tokens times the metric of the predictions have unit variance and no covariance over train."""
    chosen = settings(centre, segments=3, pca=4)
    checkpoint, out = trained(head_world, tmp_path / "a", chosen), tmp_path / "val.h5"
    banks, statistics = {"whole": head_world["val-whole"]}, head_world["statistics"]
    common = {"settings": chosen, "checkpoint": checkpoint, "statistics": statistics}
    run_predict(predict_job("image_kmeans_whitened", out, banks=banks, **common))
    with PredictionReader(out) as predictions:
        metric = predictions.metric
        assert set(np.unique(predictions.labels("segments", 0, 1))) <= {0, 1, 2}
    assert metric is not None
    bank = open_bank(head_world["whole"])
    tokens = bank.read(np.arange(len(bank)), ("tokens",))["tokens"].reshape(-1, bank.dim).astype(np.float64)
    shift, scale = shift_and_scale(Statistics.load(statistics), centre, bank.dim)
    points = (tokens - shift) * scale @ metric
    np.testing.assert_allclose(np.cov(points.T, bias=True), np.eye(4), atol=1e-2)
    whitening = Projection.from_arrays(load_arrays(checkpoint)[0])
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(points / lengths, whitening(tokens), rtol=1e-3, atol=1e-3)


def test_equal_trainings_are_equal_bytes_and_another_seed_is_not(head_world: dict[str, Path], tmp_path: Path) -> None:
    chosen = settings(sample=100, pca=4)
    first, again = (trained(head_world, tmp_path / name, chosen) for name in "ab")
    assert first.read_bytes() == again.read_bytes()
    other = train_in(
        head_world, "image_kmeans_whitened", tmp_path / "c", chosen, lambda _: traits("image_kmeans_whitened"), 1
    )
    assert not np.array_equal(load_arrays(first)[0]["matrix"], load_arrays(other)[0]["matrix"]), "another sample"


def test_tokens_of_another_encoder_are_refused(head_world: dict[str, Path], tmp_path: Path) -> None:
    chosen = settings(pca=4)
    checkpoint = trained(head_world, tmp_path / "a", chosen)
    arrays, record = load_arrays(checkpoint)
    save_arrays(checkpoint, arrays, record | {"backbone": {**record["backbone"], "block": 99}})
    given = {"banks": {"whole": head_world["val-whole"]}, "settings": chosen, "checkpoint": checkpoint}
    with pytest.raises(UserError, match=r"not the one that .* was trained on: block .* instead of 99"):
        run_predict(predict_job("image_kmeans_whitened", tmp_path / "val.h5", **given))
    assert not (tmp_path / "val.h5").exists()


def test_it_is_no_onnx_because_it_scores_no_single_tokens(head_world: dict[str, Path], tmp_path: Path) -> None:
    for package in NEEDED:
        pytest.importorskip(package)
    checkpoint = trained(head_world, tmp_path / "a", settings(pca=4))
    with pytest.raises(UserError, match="scores no single tokens"):
        export_onnx(checkpoint, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"segments is 0, it must be at least 1; pca is '64', it must be a whole number"
    ):
        settings(segments=0, pca="64")


def test_a_checkpoint_of_another_method_is_refused(tmp_path: Path) -> None:
    save_arrays(tmp_path / "c.safetensors", {"shift": np.zeros(3)}, {"method": "kmeans", "seed": 0})
    with pytest.raises(UserError, match="is a checkpoint of 'kmeans', not of 'image_kmeans_whitened'"):
        load_model("image_kmeans_whitened", tmp_path / "c.safetensors")
