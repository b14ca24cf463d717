"""Foreground against background, and the clusters of foregrounds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreground_pictures import AXES, pictures, split_of, square
from head_world import SHARED, head_world, train_in
from jobs import predict_job
from numpy.typing import NDArray

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import save_checkpoint
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.errors import UserError
from patchbank.methods.contract import load_model, run_predict, traits
from patchbank.methods.foreground_kmeans.clusters import Fitted
from patchbank.methods.foreground_kmeans.settings import resolve
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]


def settings(**own: Any) -> dict[str, Any]:
    return resolve(own, SHARED)


def fitted_on(tokens: NDArray[np.float32], centroids: NDArray[np.float32]) -> Fitted:
    """A split with clusters at `centroids` (K - 1, 5) of foregrounds."""
    flat = tokens.reshape(-1, 5)
    identity = fit_projection(flat, ProjectionSettings("none", normalise=True))
    return Fitted(split_of(tokens), identity, {"k3-s0": centroids}, spherical=True)


def test_each_image_is_background_and_the_cluster_of_its_own_object() -> None:
    kinds = [0, 1, 1, 0]
    tokens = pictures(kinds)
    fitted = fitted_on(tokens, np.stack([3 * AXES[0] + AXES[1], 3 * AXES[0] + AXES[2]]))
    for kind, image in zip(kinds, tokens, strict=True):
        scores = fitted.scores("k3-s0", image)
        assert (scores.argmax(0) == np.where(square(), 1 + kind, 0)).all()
        assert np.allclose(scores[1 + kind], fitted.split.margins(image)), "edges can be interpolated"


def test_an_image_without_foreground_is_background_alone() -> None:
    tokens = pictures([0, 1])
    fitted = fitted_on(tokens, np.stack([AXES[1], AXES[2]]))
    empty = np.tile(-3 * AXES[0], (36, 1))
    assert fitted.embed(empty)[1] is None
    assert (fitted.scores("k3-s0", empty).argmax(0) == 0).all()


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match=r"threshold is 'none', choose set \| image; pca is 0"):
        settings(threshold="none", pca=0)
    with pytest.raises(UserError, match="one cluster for the background and needs 2 or more; K is 1: ask for more"):
        resolve({}, {**SHARED, "k": [1]})


@pytest.mark.parametrize("threshold", ["set", "image"])
def test_a_row_is_trained_predicted_and_used_on_other_tokens(
    head_world: dict[str, Path], tmp_path: Path, threshold: str
) -> None:
    chosen = settings(threshold=threshold, pca=4)
    checkpoints = [
        train_in(head_world, "foreground_kmeans", tmp_path / name, chosen, lambda _: traits("foreground_kmeans"))
        for name in "ab"
    ]
    assert checkpoints[0].read_bytes() == checkpoints[1].read_bytes()
    out = tmp_path / "val.h5"
    run_predict(
        predict_job(
            "foreground_kmeans",
            out,
            banks={"whole": head_world["val-whole"]},
            statistics=head_world["statistics"],
            settings=chosen,
            checkpoint=checkpoints[0],
        )
    )
    bank, model = open_bank(head_world["val-whole"]), load_model("foreground_kmeans", checkpoints[0])
    tokens = torch.from_numpy(bank.read([0, 1], ("tokens",))["tokens"][:, 0])
    with PredictionReader(out) as predictions:
        labels = predictions.labels("k3-s0", 0, 2).reshape(2, -1)
    assert (model.scores(tokens).argmax(1).numpy() == labels).all()
    assert set(np.unique(labels)) <= {0, 1, 2}
    if threshold == "image":
        with pytest.raises(UserError, match="which ONNX cannot say"):
            model(tokens.float())
    else:
        assert torch.allclose(model(tokens.float()), model.scores(tokens), atol=1e-4)


def test_a_checkpoint_of_another_method_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", {"shift": torch.zeros(3)}, {"method": "foreground_kmeans", "seed": 0})
    with pytest.raises(UserError, match="holds no split into foreground and background"):
        load_model("foreground_kmeans", tmp_path / "c.safetensors")
