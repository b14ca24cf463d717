"""`patchbank train`: which files and settings reach the method's stage, and what a user is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bank_factory import extract_all, make_images

from patchbank import cli
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.checkpoints.store import load_checkpoint
from patchbank.methods.alignseg.head import load_head

CONFIG = """
datasets:
  toy:
    layout: folder
    backbone: dino_vits16
    settings: {methods: {alignseg: {queries: 3, heads: 2, hidden: 16, epochs: 2, batch_size: 4}}}
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder with the banks and statistics of a set `toy`, and a file that configures it."""
    folder = tmp_path_factory.mktemp("results")
    make_images(folder, 6)
    place = folder / "toy" / "bank"
    place.mkdir(parents=True)
    recipes: dict[str, dict[str, Any]] = {"multicrop": {"size": 64, "draws": 2}, "whole": {"size": 64}}
    for recipe, values in recipes.items():
        pointer = extract_all(folder, ExtractSettings(recipe, values, batch_tokens=256))

        (place / f"train-{recipe}.json").write_text(pointer.read_text())
    compute_statistics(place / "train-whole.json", folder / "toy" / "statistics.npz")
    (folder / "toy.yaml").write_text(CONFIG)
    return folder


def call(results: Path, out: Path, *more: str) -> int:
    given = ["train", "alignseg", "--config", str(results / "toy.yaml"), "--results", str(results), "--threads", "1"]
    return cli.main([*given, "--out", str(out), *more])


def test_settings_of_the_set_and_banks_of_the_pipeline(results: Path, tmp_path: Path) -> None:
    assert call(results, tmp_path / "a", "--dataset", "toy", "--set", "queries=4", "--set", "centre=none") == 0
    head = load_head(tmp_path / "a" / "checkpoint.safetensors")
    assert (head.settings.queries, head.settings.heads, head.settings.centre) == (4, 2, "none")
    assert (head.record["steps"], head.record["seed"]) == (2, 0)
    assert len((tmp_path / "a" / "steps.csv").read_text().splitlines()) == 3
    assert len((tmp_path / "a" / "epochs.csv").read_text().splitlines()) == 3


def test_a_folder_of_another_training_stays_as_it_is(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call(results, out, "--dataset", "toy") == 0
    first = (out / "checkpoint.safetensors").read_bytes()
    assert call(results, out, "--dataset", "toy") == 0
    assert (out / "checkpoint.safetensors").read_bytes() == first
    assert call(results, out, "--dataset", "toy", "--seed", "1", "--set", "queries=4") == 1
    said = capsys.readouterr().err
    assert f"--out {out} holds checkpoint.safetensors, checkpoint.json, steps.csv, epochs.csv" in said
    assert "of a run of other seed, settings; name another folder, or give --overwrite." in said
    assert (out / "checkpoint.safetensors").read_bytes() == first
    assert call(results, out, "--dataset", "toy", "--seed", "1", "--overwrite") == 0
    assert load_checkpoint(out / "checkpoint.safetensors")[1]["seed"] == 1
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "checkpoint.safetensors").write_bytes(first)
    assert call(results, tmp_path / "pipeline", "--dataset", "toy") == 1
    assert "holds checkpoint.safetensors of a run that training.json does not name" in capsys.readouterr().err
    assert (tmp_path / "pipeline" / "checkpoint.safetensors").read_bytes() == first


def test_named_files_give_the_same_weights(results: Path, tmp_path: Path) -> None:
    assert call(results, tmp_path / "a", "--dataset", "toy", "--seed", "3") == 0
    named = ["--bank", str(results / "multicrop.json"), "--statistics", str(results / "toy" / "statistics.npz")]
    assert call(Path(results), tmp_path / "b", *named, "--results", "nowhere", "--seed", "3") == 0
    one, other = (tmp_path / name / "checkpoint.safetensors" for name in "ab")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "No set is named; name one with --dataset: camvid, cityscapes19"),
        (["--dataset", "tou"], "The set 'tou' is not configured; name one"),
        (["--dataset", "toy", "--set", "queries"], "--set queries: write KEY=VALUE"),
        (["--dataset", "toy", "--set", "queries=1"], "queries is 1, it must be at least 2"),
        (["--dataset", "toy", "--set", "presure=1"], "unknown presure"),
        (["--dataset", "toy", "--config", "none.yaml"], "none.yaml cannot be read as YAML"),
        (["--dataset", "msrc"], "msrc/bank/train-multicrop.json"),
        (["--bank", "{results}/whole.json"], "alignseg reads banks of multicrop, not"),
    ],
)
def test_what_a_user_is_told(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert call(results, tmp_path / "out", *(part.format(results=results) for part in given)) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_method_that_learns_from_labels_gets_them(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "linear-probe", "--config", str(results / "toy.yaml"), "--results", str(results)]
    given += ["--dataset", "toy", "--threads", "1"]
    assert cli.main([*given, "--out", str(tmp_path / "none")]) == 1
    assert f"{results}/toy/manifest.json: no such file" in capsys.readouterr().err
    for name in ("a", "b"):
        assert cli.main([*given, "--out", str(tmp_path / name), "--manifest", str(results / "manifest.json")]) == 0
    tensors, record = load_checkpoint(tmp_path / "a" / "checkpoint.safetensors")
    assert tensors["weight"].shape == (3, 192)
    assert record["seed"] == 0
    same = load_checkpoint(tmp_path / "b" / "checkpoint.safetensors")[0]
    assert all(tensor.equal(same[key]) for key, tensor in tensors.items())


def test_a_floor_is_not_trained(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "voronoi-5", "--dataset", "demo", "--out", "unused"]) == 1
    assert "has no stage `train`" in capsys.readouterr().err


def test_a_row_that_learns_after_another_gets_its_checkpoint(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, pipeline = tmp_path / "codes.yaml", tmp_path / "pipeline"
    short = "{steps: 3, search_steps: 2, batch_size: 2, points: 3, width: 8}"
    rows = f"{{stego: {short}, mine: {{kind: primaps, codes: stego, epochs: 2, batch_size: 2}}}}"
    config.write_text(f"datasets: {{toy: {{layout: folder, backbone: dino_vits16, settings: {{methods: {rows}}}}}}}\n")
    (pipeline / "toy").parent.mkdir()
    (pipeline / "toy").symlink_to(results / "toy")

    def train(row: str, out: Path, *more: str) -> int:
        given = ["train", row, "--config", str(config), "--results", str(pipeline), "--threads", "1"]
        return cli.main([*given, "--dataset", "toy", "--seed", "1", "--out", str(out), *more])

    usual = results / "toy" / "stego" / "seed1"
    assert train("mine", tmp_path / "none") == 1
    assert "toy/stego/seed1/checkpoint.safetensors: no such file" in capsys.readouterr().err
    assert train("stego", tmp_path / "no", "--after", "any.safetensors") == 1
    assert "stego learns after no other row; leave --after out" in capsys.readouterr().err
    assert train("stego", usual) == 0
    assert train("mine", tmp_path / "a") == 0
    named = ["--after", str(usual / "checkpoint.safetensors")]
    assert train("mine", tmp_path / "a", *named) == 0
    record = load_checkpoint(tmp_path / "a" / "checkpoint.safetensors")[1]
    assert (record["after"]["row"], record["after"]["seed"]) == ("stego", 1)
    (usual / "checkpoint.safetensors").unlink()
    assert train("stego", tmp_path / "b", "--set", "steps=4") == 0
    other = ["--after", str(tmp_path / "b" / "checkpoint.safetensors")]
    assert train("mine", tmp_path / "a", *other) == 1
    assert "of a run of other after; name another folder" in capsys.readouterr().err
