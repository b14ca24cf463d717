"""The learned metric: discriminant directions, their fit from a bank, and their way to the segment clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from alignseg_oracles import assignment_logits
from alignseg_training import DIM, FakeBank, run, small
from scipy import linalg
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from patchbank.errors import UserError
from patchbank.methods.alignseg.head import load_head
from patchbank.methods.alignseg.metric import fit_metric, leading_directions
from patchbank.methods.alignseg.predict import predict_segments
from patchbank.predictions import PredictionReader, PredictionRecord


def test_directions_are_those_of_discriminant_analysis() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 50)
    points = rng.normal(size=(6, 5))[labels] * 3 + rng.normal(size=(300, 5)) @ np.diag([3.0, 1, 1, 0.5, 0.2])
    means = np.stack([points[labels == k].mean(0) for k in range(6)])
    inside = (points - means[labels]).T @ (points - means[labels]) / 300
    found = leading_directions(np.cov(means.T, ddof=0), inside, 3, 1e-9)
    np.testing.assert_allclose(found.T @ inside @ found, np.eye(3), atol=1e-6)
    theirs = LinearDiscriminantAnalysis(solver="eigen").fit(points, labels).scalings_[:, :3]
    assert np.cos(linalg.subspace_angles(found, theirs)).min() > 1 - 1e-9
    assert (found[np.abs(found).argmax(0), range(3)] > 0).all()


def test_shrinking_makes_a_singular_scatter_usable() -> None:
    inside = np.diag([1.0, 0.0, 0.0])
    found = leading_directions(np.diag([1.0, 2.0, 1.0]), inside, 2, 0.1)
    assert np.isfinite(found).all()
    assert abs(found[1, 0]) > abs(found[0, 0])


def test_the_fit_from_a_bank_is_its_definition() -> None:
    """All tokens at once in float64, against the streamed sums."""
    bank = FakeBank(images=40)
    settings = small(metric="discriminant", metric_dims=4)
    from patchbank.methods.alignseg.model import QueryDecoder

    model = QueryDecoder(DIM, settings, 0)
    shift = torch.from_numpy(bank.statistics().mean).float()
    found = fit_metric(bank, model, shift, None, 4, 0.05, 0, seed=0)  # type: ignore[arg-type]
    tokens = torch.from_numpy(bank.data["tokens"][::2, 0].astype(np.float32)) - shift
    with torch.no_grad():
        labels = assignment_logits(tokens, model(tokens)).argmax(-1).numpy()
    points = tokens.double().numpy()
    unit = points / np.linalg.norm(points, axis=-1, keepdims=True)
    apart, embeddings = [], []
    for image in range(40):
        for k in np.unique(labels[image]):
            part = labels[image] == k
            apart.append(unit[image, part] - unit[image, part].mean(0))
            mean = points[image, part].mean(0)
            embeddings.append(mean / np.linalg.norm(mean))
    rows = np.concatenate(apart)
    expected = leading_directions(np.cov(np.stack(embeddings).T, ddof=0), rows.T @ rows / len(rows), 4, 0.05)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)


def test_a_head_carries_its_metric_to_the_predictions(tmp_path: Path) -> None:
    settings = small(metric="discriminant", metric_dims=4, refine=2, merge_above=0.9)
    head = load_head(run(tmp_path, settings)["head"])
    assert head.metric is not None
    assert head.metric.shape == (DIM, 4)
    bank = FakeBank(images=4, draws=1, views=1, seed=5)
    record = PredictionRecord("toy", "val", "alignseg", "segments", 0, "nearest", (56, 70))
    predict_segments(bank, head, record, tmp_path / "val.h5", "cpu")  # type: ignore[arg-type]
    with PredictionReader(tmp_path / "val.h5") as reader:
        assert reader.variants == {"segments": 3}
        np.testing.assert_array_equal(reader.metric, head.metric.numpy())
    again = load_head(run(tmp_path / "again", settings)["head"])
    np.testing.assert_array_equal(again.metric, head.metric)


def test_a_head_without_metric_leaves_none(tmp_path: Path) -> None:
    head = load_head(run(tmp_path, small())["head"])
    assert head.metric is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metric_dims": 0}, "metric_dims is 0"),
        ({"metric_shrink": 0.0}, "metric_shrink is 0.0"),
        ({"merge_above": 1.5}, "merge_above is 1.5"),
        ({"refine": -1}, "refine is -1"),
        ({"metric": "pca"}, "metric is 'pca'"),
    ],
)
def test_impossible_values_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        small(**changes)


def test_more_directions_than_channels_are_refused() -> None:
    with pytest.raises(UserError, match="metric_dims is 99"):
        small(metric="discriminant", metric_dims=99).check_width(DIM)
