"""`patchbank segment` with rows that train nothing, and without any set."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bank_factory import TINY, extract_all, make_images
from jobs import predict_job
from PIL import Image

import patchbank
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.cli import main
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import read_json, write_json
from patchbank.inference.models import method_models, row_models
from patchbank.methods.contract import run_predict
from patchbank.methods.floors.settings import resolve
from patchbank.predictions import PredictionReader
from patchbank.segments.cluster import cluster_segments
from patchbank.segments.settings import SegmentClusterSettings

SHARED = {"centre": "mean", "kmeans": {"niter": 5, "nredo": 1}}
ROW = "image-kmeans-3"


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A row of the floor as the pipeline leaves it: predictions, clusters, statistics and the bank of its set."""
    folder = tmp_path_factory.mktemp("untrained")
    make_images(folder, 4)
    toy, whole = folder / "toy", ExtractSettings("whole", {"size": 64})
    banks = {split: extract_all(folder, whole, split) for split in ("train", "val")}
    toy.mkdir()
    compute_statistics(banks["train"], toy / "statistics.npz")
    seed, settings = toy / ROW / "seed0", resolve({"row": "image-kmeans", "segments": 3}, SHARED)
    for split, bank in banks.items():
        given = {"banks": {"whole": bank}, "statistics": toy / "statistics.npz", "settings": settings, "row": ROW}
        run_predict(predict_job("floors", seed / f"{split}.h5", split=split, **given))
    clustering = SegmentClusterSettings(k=(3,), kmeans_seeds=(0,))
    splits = [banks["train"], seed / "train.h5", banks["val"], seed / "val.h5"]
    cluster_segments(*splits, toy / "statistics.npz", clustering, 0, seed / "clusters.npz")
    shutil.copy(folder / "manifest.json", toy / "manifest.json")
    for split in banks:
        known = read_json(banks[split])
        write_json(toy / "bank" / f"{split}-whole.json", {**known, "bank": str(folder / known["bank"])})
    return toy / ROW


def segment(out: Path, pictures: Path, *more: str) -> int:
    return main(["segment", str(pictures), "--out", str(out), "--device", "cpu", "--threads", "1", *more])


def test_a_row_that_trains_nothing_segments_new_pictures(row: Path, tmp_path: Path) -> None:
    """At its set's size, into its clusters; most patches get what the pipeline stores, whatever k-means starts at."""
    folder, weights = row.parents[1], ["--weights", str(row.parents[1] / "weights.safetensors")]
    for name in ("a", "b"):
        options = ["--row", str(row), "--upsample", "nearest", "--soft", *weights]
        assert segment(tmp_path / name, folder / "data" / "images" / "val", *options) == 0
    legend = read_json(tmp_path / "a" / "legend.json")
    assert (legend["kind"], legend["variant"], legend["run"]["size"]) == ("clusters", "k3-s0", 64)
    with PredictionReader(row / "seed0" / "val.h5") as reader:
        stored = dict(zip(reader.images, reader.labels("segments", 0, len(reader.images)), strict=True))
    alike = []
    for entry in Manifest.load(folder / "manifest.json").entries("val"):
        file = f"{Path(entry.image).stem}.npz"
        assert (tmp_path / "a" / "soft" / file).read_bytes() == (tmp_path / "b" / "soft" / file).read_bytes()
        found = np.load(tmp_path / "a" / "soft" / file)["scores"].argmax(0)
        assert found.shape == stored[entry.id].shape == (4, 4)
        same = found.ravel()[:, None] == found.ravel()
        alike.append((same == (stored[entry.id].ravel()[:, None] == stored[entry.id].ravel())).mean())
    assert np.mean(alike) > 0.6


def test_without_a_set(row: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Segments of a picture alone depend on no other picture, and a file of weights is converted on the way."""
    pictures, file = row.parents[1] / "data" / "images" / "val", str(row.parents[1] / "weights.safetensors")
    encoder = ["--model", TINY.model, "--file", file, "--block", "1", "--no-norm", "--size", "64"]
    encoder += ["--weights", str(tmp_path / "converted.safetensors")]
    method = ["--method", "image-kmeans", "--segments", "3"]
    assert segment(tmp_path / "all", pictures, *method, *encoder) == 0
    one = sorted(pictures.iterdir())[1]
    assert segment(tmp_path / "one", one, *method, *encoder) == 0
    name = f"labels/{one.stem}.png"
    assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert set(np.unique(np.asarray(Image.open(tmp_path / "one" / name)))) == {0, 1, 2}
    assert read_json(tmp_path / "one" / "legend.json")["kind"] == "segments"
    capsys.readouterr()
    assert segment(tmp_path / "one", one, "--method", "image-kmeans", "--segments", "4", *encoder) == 1
    assert "wrote (other method: floors" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "kmeans", "--segments", "3"], "learns from a set, so name a row of one (--row); without a set:"),
        (["--method", "image-kmeans"], "--method image-kmeans needs --segments N"),
        (["--method", "single", "--segments", "3"], "--method single asks for no --segments"),
        (["--row", "ROW", "--segments", "3"], "--segments belong to --method"),
        (["--row", "ROW", "--no-norm", "--mean", "0", "0", "0"], "--mean, --no-norm belong to --method"),
        (["--row", "ROW", "--block", "0", "--std", "1", "1", "1"], "--block, --std belong to --method"),
        (["--method", "single", "--clusters", "c.npz"], "--clusters belongs to a row or a checkpoint"),
        (["--method", "single", "--file", "x.pth"], "--file holds the weights of --model TIMM_NAME"),
        (["--method", "single", "--model", "x", "--backbone", "y"], "--model and --backbone both name an encoder"),
    ],
)
def test_what_does_not_go_together(
    row: Path, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(row) if argument == "ROW" else argument for argument in arguments]
    weights = [] if "--row" in named else ["--weights", str(row.parents[1] / "weights.safetensors")]
    assert segment(tmp_path / "out", row.parents[1] / "data", *named, *weights) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_row_that_was_left_out_says_why(row: Path, tmp_path: Path) -> None:
    (tmp_path / "toy" / "image-kmeans-99").mkdir(parents=True)
    entry = {"row": "image-kmeans-99", "at": "", "reason": "an image has 16 patches."}
    write_json(tmp_path / "toy" / "image-kmeans-99" / "scores.json", {"left_out": entry})
    with pytest.raises(UserError, match="was left out: image-kmeans-99: an image has 16 patches"):
        row_models(tmp_path / "toy" / "image-kmeans-99")
    with pytest.raises(UserError, match="leave --clusters out"):
        models = method_models("single", None, TINY, "weights.safetensors")
        type(models)(**{**vars(models), "clusters": row / "seed0" / "clusters.npz"}).naming(models.model())


def test_arrays_in_a_notebook_are_what_the_command_writes(row: Path, tmp_path: Path) -> None:
    folder = row.parents[1]
    pictures = sorted((folder / "data" / "images" / "val").iterdir())[:2]
    weights = tmp_path / "results" / "weights" / "tiny" / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    shutil.copy(folder / "weights.safetensors", weights)
    assert (
        segment(tmp_path / "out", folder / "data" / "images" / "val", "--row", str(row), "--weights", str(weights)) == 0
    )
    with contextlib.chdir(tmp_path):
        images = [Image.open(pictures[0]), np.asarray(Image.open(pictures[1]))]
        labels, names, colours = patchbank.segment(images, row, device="cpu")
        alone = patchbank.segment(pictures[0], row, device="cpu", own_ids=True)
        with pytest.raises(UserError, match=r"takes size, window, .* received colour"):
            patchbank.segment(pictures[0], row, colour=3)
        with pytest.raises(UserError, match=r"image 0 is an array \(4, 5, 7\) of float64"):
            patchbank.segment(np.zeros((4, 5, 7)), row, device="cpu")
    for picture, found in zip(pictures, labels, strict=True):
        written = np.asarray(Image.open(tmp_path / "out" / "labels" / picture.name)).astype(np.int64)
        np.testing.assert_array_equal(found, np.where(written == 255, -1, written))
    assert (names, colours.shape) == (("cluster 0", "cluster 1", "cluster 2"), (3, 3))
    assert alone.names[0] == "segment 0"
    assert alone.labels[0].shape == labels[0].shape


def test_importing_the_package_stays_light() -> None:
    program = (
        "import sys, patchbank\nassert patchbank.segment and 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
