"""Segments by whitened tokens and another row's codes, joined into classes by Ward's criterion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from head_world import SHARED, head_world, job_of, train_in
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jobs import predict_job

from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import load_arrays, load_checkpoint, save_checkpoint
from patchbank.clustering.projection import Projection
from patchbank.errors import UserError
from patchbank.methods.contract import load_model, run_predict, run_train, traits
from patchbank.methods.jobs import TrainJob
from patchbank.methods.shape import Seen
from patchbank.methods.tools.class_heads import load_coded
from patchbank.methods.tools.foreground_split import Split
from patchbank.methods.ward_segments.fitted import Fitted, Segmenter
from patchbank.methods.ward_segments.settings import after, resolve
from patchbank.methods.ward_segments.tree import joined, means
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]


def settings(**own: Any) -> dict[str, Any]:
    shared = {**SHARED, "k": [3, 5], "centre": "mean", "kmeans": {"niter": 20, "nredo": 2}}
    return resolve({"codes": "stego", "segments": 4, "sample": 200, "pca": 6, **own}, shared)


@pytest.fixture(scope="session")
def ward_world(head_world: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same banks, and a checkpoint of `stego`."""
    job = job_of(head_world, "stego", tmp_path_factory.mktemp("stego"))
    run_train(job)
    return {**head_world, "stego": job.files.checkpoint}


def job_in(world: dict[str, Path], folder: Path, seed: int = 0, **own: Any) -> TrainJob:
    return train_in.job(world, "ward_segments", folder, settings(**own), lambda _: traits("ward_segments"), seed)


def trained(job: TrainJob) -> Path:
    run_train(job)
    return job.files.checkpoint


def predicted(world: dict[str, Path], job: TrainJob, checkpoint: Path, out: Path) -> Path:
    banks = {"whole": world["val-whole"]}
    run_predict(predict_job("ward_segments", out, banks=banks, settings=job.settings, checkpoint=checkpoint))
    return out


# the tree


def test_the_pair_whose_union_costs_least_is_joined_first() -> None:
    """0 and 3 make a worse pair than 6 and 8; then {0}, {3}: 4.5, {3}, {6, 8}: 2/3 * 16, so 0 and 3 follow."""
    points = np.array([[0.0], [3], [6], [8]], np.float32).repeat(4, 0)  # of 16 points 4 classes at most
    found = joined(points, [4, 3, 2, 1])
    assert [list(found[k][::4]) for k in (4, 3, 2, 1)] == [[0, 1, 2, 3], [0, 1, 2, 2], [0, 0, 1, 1], [0, 0, 0, 0]]
    centres, distance = means(points, found[2])
    np.testing.assert_allclose(centres[:, 0], [1.5, 7])
    assert distance == pytest.approx((2 * 1.5**2 + 2 * 1) / 4)


@given(arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=st.floats(-1, 1, width=32)))
def test_classes_of_a_smaller_number_are_unions_and_no_class_is_empty(points: np.ndarray) -> None:
    found = joined(points, [6, 2])
    for k, classes in found.items():
        assert set(classes) == set(range(max(1, min(k, len(points) // 4))))
    assert len(set(zip(found[6], found[2], strict=True))) == len(set(found[6]))


def test_the_tree_costs_no_more_than_a_class_a_point_and_no_less_than_none() -> None:
    points = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    costs = [means(points, classes)[1] for classes in joined(points, [15, 8, 3, 1]).values()]
    assert 0 < costs[0] < costs[1] < costs[2] < costs[3]
    assert costs[3] == pytest.approx(points.var(0).sum(), rel=1e-5)


# features


def test_codes_tell_apart_what_tokens_do_not() -> None:
    """Tokens are noise of unit length; a coder knows two halves."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(64, 8)).astype(np.float32)
    half = (np.arange(64) >= 32).astype(int)
    plain = Projection(np.zeros(8, np.float32), np.eye(8, dtype=np.float32), normalise=True)

    class Halves:
        def __call__(self, tokens: np.ndarray) -> np.ndarray:
            return np.eye(2, dtype=np.float32)[half]

    values = settings(segments=2)
    both = Segmenter(plain, Halves(), values, 0)  # type: ignore[arg-type]
    alone = Segmenter(plain, None, values, 0)
    np.testing.assert_allclose(np.linalg.norm(both.features(tokens), axis=1), 1, rtol=1e-5)
    found = both.segments(tokens, "0")
    assert len(set(zip(found.labels, half, strict=True))) == 2
    np.testing.assert_allclose(np.linalg.norm(found.means, axis=1), 1, rtol=1e-5)
    assert len(set(zip(alone.segments(tokens, "0").labels, half, strict=True))) == 4


def test_features_are_whitened_tokens_and_the_codes_of_the_other_row(
    ward_world: dict[str, Path], tmp_path: Path
) -> None:
    job = job_in(ward_world, tmp_path)
    model = load_model("ward_segments", trained(job))
    bank = open_bank(ward_world["whole"])
    tokens = bank.read([0], ("tokens",))["tokens"].reshape(-1, bank.dim)
    features = model.fitted.segmenter.features(tokens)  # type: ignore[union-attr]
    head = load_coded(ward_world["stego"])
    with torch.no_grad():
        codes = head.codes(torch.from_numpy(tokens)[None])[0].numpy()
    np.testing.assert_allclose(
        features[:, 6:], codes / np.linalg.norm(codes, axis=1, keepdims=True) / 2**0.5, atol=1e-6
    )
    white = Projection.from_arrays(load_arrays(job.files.checkpoint)[0])(tokens)
    np.testing.assert_allclose(features[:, :6], white / 2**0.5, atol=1e-6)


# a row


@pytest.mark.parametrize("background", [False, True])
def test_a_row_predicts_classes_of_both_numbers_and_pictures_get_the_same(
    ward_world: dict[str, Path], tmp_path: Path, background: bool
) -> None:
    job = job_in(ward_world, tmp_path / "a", background=background)
    checkpoint = trained(job)
    record = load_arrays(checkpoint)[1]
    assert (record["after"]["row"], record["after"]["method"]) == ("stego", "stego")
    assert after(job.settings) == "stego"
    assert job.files.steps_csv.read_text().splitlines()[0] == "k,classes,segments,distance"
    model = load_model("ward_segments", checkpoint)
    bank = open_bank(ward_world["val-whole"])
    with PredictionReader(predicted(ward_world, job, checkpoint, tmp_path / "val.h5")) as reader:
        assert dict(reader.variants) == {"k3-s0": 3, "k5-s0": 5}
        for row in range(len(bank)):
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim)
            seen = Seen(bank.images[row], bank.grid, torch.from_numpy(tokens))
            scores = model.scores_of(seen)  # type: ignore[union-attr]
            assert np.array_equal(scores.numpy().argmax(0).reshape(bank.grid), reader.labels("k3-s0", row, row + 1)[0])
            assert len(np.unique(scores.numpy(), axis=1).T) <= 4, "as many as segments"


def test_equal_trainings_are_equal_bytes_and_another_seed_is_not(ward_world: dict[str, Path], tmp_path: Path) -> None:
    first, again, other = (
        trained(job_in(ward_world, tmp_path / name, seed)) for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert first.read_bytes() == again.read_bytes()
    assert not np.array_equal(load_arrays(first)[0]["matrix"], load_arrays(other)[0]["matrix"])


def test_more_segments_than_are_joined_take_some_images(ward_world: dict[str, Path], tmp_path: Path) -> None:
    job = job_in(ward_world, tmp_path, most=20)
    arrays, record = load_arrays(trained(job))
    assert "segments of 5 of 9 train images were joined (`most`)." in record["notes"]
    rows = [line.split(",") for line in job.files.steps_csv.read_text().splitlines()[1:]]
    assert [(row[0], row[1]) for row in rows] == [("3", "3"), ("5", str(min(5, int(rows[1][2]) // 4)))]
    assert [len(arrays[name]) for name in ("k3-s0", "k5-s0")] == [int(row[1]) for row in rows]


def test_one_image_has_as_many_classes_as_its_segments_allow(ward_world: dict[str, Path], tmp_path: Path) -> None:
    arrays = load_arrays(trained(job_in(ward_world, tmp_path, segments=8, most=8)))[0]
    assert {name: len(arrays[name]) for name in ("k3-s0", "k5-s0")} == {"k3-s0": 2, "k5-s0": 2}, "a quarter of 8"


def test_more_segments_than_patches_are_refused_with_the_way_out(ward_world: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"an image has 36 patches, fewer than the 40 .*; ask for fewer segments or"):
        trained(job_in(ward_world, tmp_path, segments=40))


def test_without_codes_no_other_row_is_needed(ward_world: dict[str, Path], tmp_path: Path) -> None:
    job = job_in(ward_world, tmp_path, codes="")
    assert (job.after, after(job.settings)) == (None, "")
    checkpoint = trained(job)
    assert "after" not in load_arrays(checkpoint)[1]
    predicted(ward_world, job, checkpoint, tmp_path / "val.h5")


# a background


def test_segments_behind_the_threshold_are_background_and_others_of_the_nearest_class() -> None:
    """Of four kinds of patches two lie at -3 along the first axis, the others at +1 and +2."""
    rng = np.random.default_rng(0)
    kind = np.arange(40) % 4
    kinds = np.array([[-3, 4, 0, 0, 0], [-3, 0, 4, 0, 0], [1, 0, 0, 4, 0], [2, 0, 0, 0, 4]], np.float32)
    tokens = kinds[kind] + rng.normal(0, 0.01, (40, 5)).astype(np.float32)
    plain = Projection(np.zeros(5, np.float32), np.eye(5, dtype=np.float32), normalise=True)
    split = Split(np.zeros(5, np.float32), np.eye(5, dtype=np.float32)[0], 1.0, None)
    segmenter = Segmenter(plain, None, settings(codes="", segments=4), 0, split)
    segments = segmenter.segments(tokens, "0")
    assert segments.margins is not None
    margins = segments.margins[segments.labels]
    threshold = (tokens[:, 0] - split.margins(tokens)).mean()
    np.testing.assert_allclose(margins, np.array([-3, -3, 1, 2])[kind] - threshold, atol=0.02)
    assert sorted(segments.foreground().argmax(1)) == [3, 4]
    fitted = Fitted(segmenter, {"k3-s0": np.eye(5, dtype=np.float32)[[4, 3]]})
    scores = fitted.scores(tokens, "0")["k3-s0"]
    assert fitted.classes == {"k3-s0": 3}
    assert (scores.argmax(0) == np.array([0, 0, 2, 1])[kind]).all()
    assert (scores[0] == 0).all()
    np.testing.assert_allclose(scores[1:].max(0), margins, atol=1e-5)
    assert (scores[1:, kind < 2] == margins[kind < 2]).all(), "no class is nearer to the background than another"
    nothing = replace(segmenter, split=replace(split, threshold=9.0))
    assert nothing.segments(tokens, "0").foreground().shape == (0, 5)
    assert (replace(fitted, segmenter=nothing).scores(tokens, "0")["k3-s0"].argmax(0) == 0).all()


def test_a_row_with_a_background_predicts_it_and_one_class_less_of_the_rest(
    ward_world: dict[str, Path], tmp_path: Path
) -> None:
    job = job_in(ward_world, tmp_path / "a", background=True)
    checkpoint = trained(job)
    stored = load_arrays(checkpoint)[0]
    assert len(stored["k3-s0"]) == 2
    assert any("segments are no background and were joined" in note for note in load_arrays(checkpoint)[1]["notes"])
    rows = [line.split(",") for line in job.files.steps_csv.read_text().splitlines()[1:]]
    assert [int(row[1]) for row in rows] == [1 + len(stored[name]) for name in ("k3-s0", "k5-s0")]
    assert int(rows[0][2]) < 9 * 4, "segments of the background are not joined"
    model, bank = load_model("ward_segments", checkpoint), open_bank(ward_world["val-whole"])
    assert model.segments == 3
    split = Split.from_arrays(stored)
    with PredictionReader(predicted(ward_world, job, checkpoint, tmp_path / "val.h5")) as reader:
        assert dict(reader.variants) == {"k3-s0": 3, "k5-s0": 1 + len(stored["k5-s0"])}
        for row in range(len(bank)):
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim)
            seen = model.fitted.segmenter.segments(tokens, bank.images[row])  # type: ignore[union-attr]
            behind = [split.margins(tokens)[seen.labels == one].mean() <= 0 for one in range(len(seen.means))]
            labels = reader.labels("k3-s0", row, row + 1)[0].ravel()
            assert ((labels == 0) == np.array(behind)[seen.labels]).all()
    again = trained(job_in(ward_world, tmp_path / "b", background=True))
    assert again.read_bytes() == checkpoint.read_bytes()


def test_a_background_needs_two_classes_and_a_foreground(
    ward_world: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="and needs 2 or more; K is 1: ask for more, or background: false"):
        resolve({"background": True}, {**SHARED, "k": [1, 4], "centre": "mean", "kmeans": {}})
    monkeypatch.setattr(Split, "margins", lambda self, tokens: -np.ones(len(tokens), np.float32))
    with pytest.raises(UserError, match=r"No segment of .* is foreground; train with background: false\."):
        trained(job_in(ward_world, tmp_path, background=True))


# what is said and refused


def changed(checkpoint: Path, out: Path, **record: Any) -> Path:
    tensors, known = load_checkpoint(checkpoint)
    save_checkpoint(out, tensors, known | record)
    return out


def test_labels_that_moved_the_other_head_mark_this_row_and_its_predictions(
    ward_world: dict[str, Path], tmp_path: Path
) -> None:
    moved = changed(ward_world["stego"], tmp_path / "moved.safetensors", oracle="train")
    job = replace(job_in(ward_world, tmp_path / "a"), after=moved)
    checkpoint = trained(job)
    assert load_arrays(checkpoint)[1]["oracle"] == "train"
    with PredictionReader(predicted(ward_world, job, checkpoint, tmp_path / "val.h5")) as reader:
        assert reader.record.oracle == "train"


def test_heads_and_tokens_that_do_not_fit_are_refused(ward_world: dict[str, Path], tmp_path: Path) -> None:
    job = job_in(ward_world, tmp_path / "a")
    with pytest.raises(UserError, match="learns after another row here; name that row's checkpoint"):
        run_train(replace(job, after=None))
    with pytest.raises(UserError, match="reads tokens of width 7"):
        run_train(replace(job, after=changed(ward_world["stego"], tmp_path / "w.safetensors", dim=7)))
    backbone = {**load_checkpoint(ward_world["stego"])[1]["backbone"], "block": 2}
    with pytest.raises(UserError, match=r"block .* instead of 2"):
        run_train(replace(job, after=changed(ward_world["stego"], tmp_path / "b.safetensors", backbone=backbone)))
    own = trained(job)
    with pytest.raises(UserError, match="does not say how tokens get codes"):
        run_train(replace(job, after=own))
    with pytest.raises(UserError, match=r"not the one that .* was trained on: block .* instead of 2"):
        predicted(ward_world, job, changed(own, tmp_path / "o.safetensors", backbone=backbone), tmp_path / "val.h5")
    assert not (tmp_path / "val.h5").exists()
    with pytest.raises(UserError, match="is a checkpoint of 'stego', not of 'ward_segments'"):
        load_model("ward_segments", ward_world["stego"])
    with pytest.raises(
        UserError, match=r"segments is 0, it must be at least 1; most is '9', it must be a whole number"
    ):
        settings(segments=0, most="9")
    with pytest.raises(UserError, match="most is 7, fewer than the 8 segments of one image"):
        settings(segments=8, most=7)
