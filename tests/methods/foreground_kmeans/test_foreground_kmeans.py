"""Foreground against background, and the clusters of foregrounds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from head_world import SHARED, head_world, train_in
from hypothesis import given
from hypothesis import strategies as st
from jobs import predict_job
from numpy.typing import NDArray

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import save_checkpoint
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.errors import UserError
from patchbank.methods.contract import load_model, run_predict, traits
from patchbank.methods.foreground_kmeans.clusters import Fitted
from patchbank.methods.foreground_kmeans.settings import resolve
from patchbank.methods.tools.foreground import Split, border_of, fit_split, otsu
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]

GRID = (6, 6)
AXES = np.eye(5, dtype=np.float32)


def settings(**own: Any) -> dict[str, Any]:
    return resolve(own, SHARED)


def pictures(kinds: list[int]) -> NDArray[np.float32]:
    """Tokens (n, 36, 5): background along -axis 0, a square of 3x3 patches along +axis 0 and an axis of its kind."""
    rng = np.random.default_rng(0)
    tokens = np.tile(-3 * AXES[0], (len(kinds), *GRID, 1))
    for image, kind in enumerate(kinds):
        tokens[image, 1:4, 2:5] = 3 * AXES[0] + AXES[1 + kind]
    tokens += rng.normal(0, 0.05, tokens.shape).astype(np.float32)
    return tokens.reshape(len(kinds), -1, 5)


def bank_of(tokens: NDArray[np.float32]) -> Any:
    """Tokens in memory as a bank of whole images."""
    return SimpleNamespace(
        images=[f"{number:016x}" for number in range(len(tokens))],
        grid=GRID,
        dim=tokens.shape[2],
        read=lambda rows, _: {"tokens": tokens[list(rows)][:, None]},
    )


def split_of(tokens: NDArray[np.float32], per_image: bool = False) -> Split:
    """The split of these images."""
    flat = tokens.reshape(-1, tokens.shape[2])
    return fit_split(bank_of(tokens), flat, None, per_image, 0)


def square() -> NDArray[np.bool_]:
    """The patches (36,) of the object of `pictures`."""
    inside = np.zeros(GRID, bool)
    inside[1:4, 2:5] = True
    return inside.ravel()


@pytest.mark.parametrize("per_image", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_foreground_is_the_side_that_keeps_away_from_the_border(per_image: bool, sign: int) -> None:
    tokens = sign * pictures([0, 1, 2, 0])
    split = split_of(tokens, per_image)
    for image in tokens:
        assert ((split.margins(image) > 0) == square()).all()


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=60))
def test_otsu_is_as_good_as_the_best_of_all_thresholds_on_a_fine_grid(numbers: list[int]) -> None:
    values = np.array(numbers, np.float64)
    threshold = otsu(values)
    if values.min() == values.max():
        assert threshold < values.min()
        return

    def between(cut: float) -> float:
        below, above = values[values <= cut], values[values > cut]
        if not len(below) or not len(above):
            return 0.0
        return float(len(below) * len(above) * (below.mean() - above.mean()) ** 2)

    assert values.min() < threshold < values.max()
    best = max(between(cut) for cut in values)
    width = (values.max() - values.min()) / 256
    assert between(threshold) >= 0.9 * best - len(values) ** 2 * width**2


def test_the_border_of_grids_has_an_outside_and_an_inside() -> None:
    assert border_of((3, 4)).reshape(3, 4).tolist() == [[True] * 4, [True, False, False, True], [True] * 4]
    for grid in [(1, 2), (2, 2), (2, 9), (1, 7)]:
        assert 0 < border_of(grid).sum() < grid[0] * grid[1]


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
    with pytest.raises(UserError, match="one for the background; K is 1 here"):
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
