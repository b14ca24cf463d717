"""`patchbank segment --row`: a row of a report names everything, and rows of k-means segment new pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from bank_factory import extract_all, make_images
from jobs import predict_job, train_job

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.cli import main
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.exports.labels import open_source
from patchbank.exports.source import Choice
from patchbank.files import read_json, write_json
from patchbank.inference.inputs import row_checkpoint
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.kmeans.settings import resolve
from patchbank.report.page.naming import fit_of

SHARED = {"k": [4, 6], "kmeans_seeds": [0], "centre": "mean", "projection": {}, "kmeans": {"niter": 5, "nredo": 1}}


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row of k-means as the pipeline leaves it, the weights and the set two folders above."""
    folder = tmp_path_factory.mktemp("rows")
    make_images(folder, 5)
    whole, seed = ExtractSettings("whole", {"size": 64}), folder / "toy" / "tokens" / "seed0"
    banks = {split: extract_all(folder, whole, split) for split in ("train", "val")}
    compute_statistics(banks["train"], folder / "statistics.npz")
    common = {"statistics": folder / "statistics.npz", "settings": resolve({}, SHARED)}
    job = train_job("kmeans", seed, banks={"whole": banks["train"]}, **common)
    run_train(job)
    given = {"banks": {"whole": banks["val"]}, "checkpoint": job.files.checkpoint, "split": "val"}
    run_predict(predict_job("kmeans", seed / "val.h5", **given, **common))
    shutil.copy(folder / "manifest.json", folder / "toy" / "manifest.json")
    return seed.parent


WINDOW = ["--window", "64"]


def segment(row: Path, out: Path) -> None:
    pictures, weights = row.parents[1] / "data" / "images" / "val", row.parents[1] / "weights.safetensors"
    fixed = ["--weights", str(weights), "--device", "cpu", "--threads", "1", "--size", "64"]
    assert main(["segment", str(pictures), "--row", str(row), "--out", str(out), *fixed]) == 0


def test_new_pictures_get_the_clusters_of_the_row(row: Path, tmp_path: Path) -> None:
    segment(row, tmp_path / "out")
    legend = read_json(tmp_path / "out" / "legend.json")
    assert (legend["kind"], legend["variant"], len(legend["ids"])) == ("clusters", "k4-s0", 4)
    names = tmp_path / "names.yaml"
    text = f"format: patchbank-names-1\nrows:\n  tokens:\n    variant: k4-s0\n    fit: '{fit_of(row / 'seed0')}'\n"
    names.write_text(text + "    names: {0: sky, 2: sky}\n")
    of_row = {Path(one.file).stem: one.labels for one in open_source(row, Choice(names=names)).pictures()}
    for one in open_source(tmp_path / "out", Choice(names=names)).pictures():
        np.testing.assert_array_equal(one.labels, of_row.pop(Path(one.file).stem))
    assert not of_row


def test_clusters_that_were_matched_are_classes(row: Path, tmp_path: Path) -> None:
    matching = {"training_seed": 0, "variant": "k4-s0", "assignment": [1, -1, 0, 1]}
    write_json(row / "scores.json", {"matching": matching})
    try:
        segment(row, tmp_path / "out")
        of_row = {Path(one.file).stem: one.labels for one in open_source(row, Choice()).pictures()}
    finally:
        (row / "scores.json").unlink()
    legend = read_json(tmp_path / "out" / "legend.json")
    classes = Manifest.load(row.parent / "manifest.json").classes
    assert (legend["kind"], [one["name"] for one in legend["ids"]]) == ("classes", list(classes))
    for one in open_source(tmp_path / "out", Choice()).pictures():
        np.testing.assert_array_equal(one.labels, of_row[Path(one.file).stem])
    assert any((labels == -1).any() for labels in of_row.values())


def test_the_checkpoint_of_a_row(row: Path, tmp_path: Path) -> None:
    assert row_checkpoint(row) == row_checkpoint(row / "seed0") == row / "seed0" / "checkpoint.safetensors"
    for name in ("seed2", "seed10"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "checkpoint.safetensors").write_bytes(b"")
    assert row_checkpoint(tmp_path / "mine").parent.name == "seed2"
    write_json(tmp_path / "mine" / "scores.json", {"matching": {"training_seed": 10}})
    assert row_checkpoint(tmp_path / "mine").parent.name == "seed10"
    with pytest.raises(UserError, match="name a row that is trained"):
        row_checkpoint(tmp_path)
    with pytest.raises(UserError, match="name its source, row kmeans,"):
        row_checkpoint(tmp_path / "kmeans+flip")


def test_a_row_of_dense_banks_reads_new_pictures_as_densely(row: Path, tmp_path: Path) -> None:
    world, mine = row.parents[1], tmp_path / "toy" / "tokens"
    shutil.copytree(row.parent, tmp_path / "toy", ignore=shutil.ignore_patterns("*.h5"))
    dense = extract_all(world, ExtractSettings("dense", {"size": 64, "shift": 2}), "val")
    given = {"banks": {"whole": dense}, "checkpoint": mine / "seed0" / "checkpoint.safetensors", "split": "val"}
    common = {"statistics": world / "statistics.npz", "settings": resolve({}, SHARED)}
    run_predict(predict_job("kmeans", mine / "seed0" / "val.h5", **given, **common))
    pictures, weights = world / "data" / "images" / "val", world / "weights.safetensors"
    models = ["--row", str(mine), "--weights", str(weights), "--device", "cpu", "--threads", "1"]
    for name, more in (("default", []), ("two", ["--shift", "2"]), ("one", ["--shift", "1"]), ("window", WINDOW)):
        assert main(["segment", str(pictures), *models, "--out", str(tmp_path / name), *more]) == 0
    legends = {name: read_json(tmp_path / name / "legend.json") for name in ("default", "two", "one", "window")}
    assert legends["default"] == legends["two"]
    assert {name: legend["run"].get("shift") for name, legend in legends.items()} == {
        **{"default": 2, "two": 2},
        **{"one": None, "window": None},
    }
