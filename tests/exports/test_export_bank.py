"""`patchbank export bank`, read back by the tools that it is for."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from bank_factory import extract_all, make_images

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.bank.settings import CodingSettings
from patchbank.cli import main
from patchbank.datasets.manifest import Manifest
from patchbank.exports import bank as module
from patchbank.files import read_json

FIELDS = ["tokens", "cls", "cls_attention", "boxes", "flip"]


@pytest.fixture(scope="module")
def pointer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of two draws and three views an image, named by a pointer below its set's folder."""
    folder = tmp_path_factory.mktemp("bank")
    make_images(folder, 5)
    settings = ExtractSettings("multicrop", {"size": 64, "draws": 2}, images_per_shard=2, batch_tokens=256)
    made = extract_all(folder, settings)
    (folder / "toy" / "bank").mkdir(parents=True)
    shutil.copy(folder / "manifest.json", folder / "toy" / "manifest.json")
    moved = folder / "toy" / "bank" / "train-multicrop.json"
    shutil.copy(made, moved)
    return moved


def export(pointer: Path, out: Path, kind: str, *more: str) -> int:
    return main(["export", "bank", str(pointer), "--format", kind, "--out", str(out), *more])


def files_of(pointer: Path) -> list[str]:
    manifest = Manifest.load(pointer.parents[1] / "manifest.json")
    known = {entry.id: entry.image for entry in manifest.entries("train")}
    return [known[image] for image in open_bank(pointer).images]


def test_npy_holds_the_bank_and_says_which_image_is_where(pointer: Path, tmp_path: Path) -> None:
    assert export(pointer, tmp_path / "out", "npy") == 0
    bank = open_bank(pointer)
    stored = bank.read(np.arange(len(bank)), FIELDS)
    for name in FIELDS:
        array = np.load(tmp_path / "out" / f"{name}.npy", mmap_mode="r")
        assert array.dtype == stored[name].dtype
        np.testing.assert_array_equal(array, stored[name])
    with (tmp_path / "out" / "images.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["file"] for line in lines] == [name for name in files_of(pointer) for _ in range(2)]
    assert [(line["sample"], line["draw"]) for line in lines[:3]] == [("0", "0"), ("1", "1"), ("2", "0")]


def test_zarr_holds_the_bank(pointer: Path, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    assert export(pointer, tmp_path / "out", "zarr") == 0
    group, bank = zarr.open_group(str(tmp_path / "out" / "bank.zarr"), mode="r"), open_bank(pointer)
    stored = bank.read(np.arange(len(bank)), FIELDS)
    for name in FIELDS:
        assert group[name].chunks == (1, *stored[name].shape[1:])
        np.testing.assert_array_equal(group[name][:], stored[name])
    assert (group.attrs["images"], group.attrs["files"]) == (bank.images, files_of(pointer))


def test_parquet_holds_a_line_a_patch(
    pointer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(module, "BLOCK", 1)  # one sample a block
    assert export(pointer, tmp_path / "out", "parquet") == 0
    assert "10 samples of tokens, cls as parquet\n" in capsys.readouterr().out
    bank = open_bank(pointer)
    stored = bank.read(np.arange(len(bank)), ("tokens", "cls"))
    samples, views, count, dim = stored["tokens"].shape
    table = parquet.read_table(tmp_path / "out" / "tokens.parquet")
    assert table.num_rows == samples * views * count
    tokens = table["token"].combine_chunks().flatten().to_numpy().reshape(samples, views, count, dim)
    np.testing.assert_array_equal(tokens, stored["tokens"].astype(np.float32))
    last = table.slice(table.num_rows - 1).drop(["token"]).to_pylist()[0]
    height, width = bank.grid
    wanted = {"image": bank.images[-1], "file": files_of(pointer)[-1], "draw": 1, "view": views - 1}
    assert last == {**wanted, "row": height - 1, "column": width - 1}
    images = parquet.read_table(tmp_path / "out" / "images.parquet")
    cls = images["cls"].combine_chunks().flatten().to_numpy().reshape(stored["cls"].shape)
    np.testing.assert_array_equal(cls, stored["cls"].astype(np.float32))
    assert images["view"].to_pylist()[:4] == [0, 1, 2, 0][:4] or views != 3


def test_tokens_of_8_bits_are_exported_as_what_they_stand_for(tmp_path: Path) -> None:
    make_images(tmp_path, 3)
    coding = CodingSettings("train", {"size": 32})
    bank = extract_all(tmp_path, ExtractSettings("whole", {"size": 32}, dtype="int8", coding=coding))
    assert export(bank, tmp_path / "out", "npy") == 0
    tokens = np.load(tmp_path / "out" / "tokens.npy")
    np.testing.assert_array_equal(tokens, open_bank(bank).read(np.arange(3), ("tokens",))["tokens"])
    said = read_json(tmp_path / "out" / "bank.json")
    assert (said["dtype"], said["exported"]["tokens"], str(tokens.dtype)) == ("int8", "float32", "float32")
    assert said["exported"]["cls"] == str(np.load(tmp_path / "out" / "cls.npy").dtype) == "float16"


def test_what_is_in_the_way_stays(pointer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(pointer, tmp_path / "out", "npy") == 0
    before = (tmp_path / "out" / "tokens.npy").read_bytes()
    assert export(pointer, tmp_path / "out", "npy") == 0
    assert (tmp_path / "out" / "tokens.npy").read_bytes() == before
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert export(pointer, tmp_path / "out", "npy", "--overwrite") == 1
    assert "holds files beside the export (mine.txt)" in capsys.readouterr().err
    assert export(tmp_path, tmp_path / "two", "npy") == 1
    assert "not a bank" in capsys.readouterr().err
    assert not (tmp_path / "two").exists()


def test_a_bank_may_lie_right_below_the_root(pointer: Path) -> None:
    bank = open_bank(pointer)
    assert module._names(Path("/tmp"), bank) == [""] * len(bank.images)  # a folder with one folder above it


def test_a_missing_package_is_named_with_its_extra(
    pointer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert export(pointer, tmp_path / "out", "parquet") == 1
    assert "needs pyarrow; install it with `pip install 'patchbank[parquet]'`" in capsys.readouterr().err
