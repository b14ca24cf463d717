"""A checkpoint that labels moved says so, and everything that comes of it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from head_world import head_world, job_of
from jobs import predict_job

from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.cli import main
from patchbank.datasets.manifest import Manifest
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.score import Scoring, context_of, score_method
from patchbank.files import read_json
from patchbank.methods.contract import Method, run_predict, run_train, traits
from patchbank.predictions import PredictionReader

__all__ = ["head_world"]


def oracle_of(checkpoint: Path) -> str | None:
    return load_checkpoint(checkpoint)[1].get("oracle")


@pytest.fixture(scope="module")
def moved(head_world: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of CAUSE-MLP with its leak."""
    job = job_of(head_world, "cause_mlp", tmp_path_factory.mktemp("leak"), supervised_leak="reference")
    run_train(job)
    return job.files.checkpoint


def test_a_training_says_whether_labels_moved_it(head_world: dict[str, Path], moved: Path, tmp_path: Path) -> None:
    plain = job_of(head_world, "cause_mlp", tmp_path)
    run_train(plain)
    assert (oracle_of(moved), oracle_of(plain.files.checkpoint)) == ("train", None)


@pytest.mark.parametrize("labels", [True, False])
def test_what_learns_after_a_checkpoint_carries_its_labels_into_scores(
    labels: bool, head_world: dict[str, Path], moved: Path, tmp_path: Path
) -> None:
    """The configuration of the row knows of none: the checkpoint was named by its file."""
    given = moved
    if not labels:
        tensors, record = load_checkpoint(moved)
        given = tmp_path / "given.safetensors"
        save_checkpoint(given, tensors, {key: value for key, value in record.items() if key != "oracle"})
    world, expected = {**head_world, "cause-mlp": given}, "train" if labels else None
    job = job_of(world, "primaps", tmp_path, codes="cause-mlp", start_epochs=0)
    assert job.manifest is None
    run_train(job)
    assert oracle_of(job.files.checkpoint) == expected
    whole = {"banks": {"whole": world["val-whole"]}, "statistics": world["statistics"], "settings": job.settings}
    run_predict(predict_job("primaps", tmp_path / "val.h5", checkpoint=job.files.checkpoint, **whole))
    with PredictionReader(tmp_path / "val.h5") as reader:
        assert reader.record.oracle == expected
        assert ("oracle" in reader.record.to_json()) == labels
    manifest = Manifest.load(world["manifest"])
    count_predictions(tmp_path / "val.h5", manifest, tmp_path / "counts.npz", "full", 1)
    row = Method("mine", "primaps", job.settings, (0,), traits("primaps"))
    context = context_of(row, manifest.classes, Scoring("toy", ("hungarian", "per_image"), "full", "train", 3))
    rows = score_method({0: tmp_path / "counts.npz"}, None, context)["rows"]
    assert rows
    assert {one["oracle"] for one in rows} == {expected}


def test_segmented_pictures_say_it(
    head_world: dict[str, Path], moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = head_world["statistics"].parent
    command = ["segment", str(folder / "data" / "images" / "val"), "--checkpoint", str(moved), "--size", "96"]
    command += ["--device", "cpu", "--threads", "1", "--weights", str(folder / "weights.safetensors")]
    for _ in range(2):
        assert main([*command, "--out", str(tmp_path / "out")]) == 0
        assert "labels of the train split moved what divides these pictures (oracle: train)" in capsys.readouterr().err
        assert read_json(tmp_path / "out" / "legend.json")["run"]["oracle"] == "train"
