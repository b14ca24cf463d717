"""`patchbank segment --row`: a row of a report names everything, and rows of k-means segment new pictures."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bank_factory import extract_all, make_images
from jobs import predict_job, train_job
from PIL import Image

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.cli import main
from patchbank.datasets.images import load_image
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
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


def test_new_pictures_of_many_bands_have_the_directions_of_the_set(
    row: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pictures that are made RGB by the set's directions beforehand; other bands are named and left out."""
    values = np.random.default_rng(0).normal(4000, (900, 700, 500, 300, 100), (3, 64, 64, 5)).astype(np.uint16)
    pictures = {"set/a": values[0], "set/b": values[1], "new/a": values[2], "new/b": values[2, ..., 1:]}
    for name, bands in pictures.items():
        path = tmp_path / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, bands, photometric="minisblack", planarconfig="contig")
    depth = scan(make_spec("own", "folder", tmp_path / "set", depth={"bands": "pca"}), workers=1).depth
    assert depth is not None
    shutil.copytree(row, tmp_path / "toy" / "tokens")
    replace(Manifest.load(row.parent / "manifest.json"), depth=depth).save(tmp_path / "toy" / "manifest.json")
    (tmp_path / "rgb").mkdir()
    load_image(tmp_path / "new" / "a.tif", depth).save(tmp_path / "rgb" / "a.png")
    weights = row.parents[1] / "weights.safetensors"
    fixed = ["--weights", str(weights), "--device", "cpu", "--threads", "1", "--size", "64"]
    for folder, used, status in (("new", tmp_path / "toy" / "tokens", 1), ("rgb", row, 0)):
        given = [str(tmp_path / folder), "--row", str(used), "--out", str(tmp_path / f"of-{folder}"), *fixed]
        assert main(["segment", *given]) == status
    said = capsys.readouterr()
    assert "has 4 bands of uint16, and the set's principal directions are of 5 bands of uint16" in said.err
    new, rgb = (np.asarray(Image.open(tmp_path / f"of-{name}" / "labels" / "a.png")) for name in ("new", "rgb"))
    np.testing.assert_array_equal(new, rgb)
    assert len(np.unique(new)) > 1
    assert not (tmp_path / "of-new" / "labels" / "b.png").exists()


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
