"""A file that a user names where another is meant gets a sentence of its own, and never the advice to delete it."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from patchbank.bank.format import read_record
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.cli import main
from patchbank.errors import UserError
from patchbank.files import read_npz
from patchbank.inference.naming import dataset_ids
from patchbank.recognise import recognise

ROOT = Path(__file__).parents[2]
CHECKPOINT = '{"backbone": {}, "bank": "0123", "method": "alignseg", "seed": 0, "settings": {}}'
"""Keys of the record beside a trained checkpoint."""


def foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = [1.0]


def shard(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs.update({"content": "0" * 16, "complete": True})
        file["tokens"] = [1.0]


def shard_of_a_bank(path: Path) -> None:
    shard(path)
    path.with_name("bank.json").write_text("{}")


MADE: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "features.h5": (foreign_hdf5, "an HDF5 file of another tool (it holds features)", ""),
    "0000.h5": (shard_of_a_bank, "one shard of a bank", "patchbank info {folder}"),
    "0001.h5": (shard, "one shard of a bank", "name a folder that has one"),
    "bank.h5": (shard_of_a_bank, "the joined view of a bank for other tools", "patchbank info {folder}"),
    "cut.h5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n"), "an HDF5 file that cannot be read", ""),
    "photo.png": (lambda p: Image.new("RGB", (2, 2)).save(p), "a picture", "patchbank segment"),
    "photo.jpg": (lambda p: Image.new("RGB", (2, 2)).save(p), "a picture", "patchbank segment"),
    "photo.heic": (lambda p: p.write_bytes(b"\0\0\0\x18ftypheic" + bytes(9)), "a picture in the format HEIC", ""),
    "mask.mat": (lambda p: p.write_bytes(b"MATLAB 5.0 MAT-file, Platform"), "a MATLAB file", ""),
    "photo.webp": (lambda p: Image.new("RGB", (2, 2)).save(p), "a picture", "patchbank segment"),
    "dino.pth": (lambda p: torch.save({"a": torch.ones(1)}, p), "a torch checkpoint", "patchbank import"),
    "old.ckpt": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), "a torch checkpoint", "patchbank import"),
    "vit.safetensors": (lambda p: save_file({"a": torch.ones(1)}, p), "a safetensors file of another tool", ""),
    "arrays.npz": (lambda p: np.savez(p, a=[1]), "a NumPy archive of other content", ""),
    "clusters.npz": (lambda p: np.savez(p, tables=["x"]), "a file of segment clusters", "segment --clusters"),
    "statistics.npz": (lambda p: np.savez(p, mean=[1], std=[1], count=1), "a file of statistics", "train --statistics"),
    "head.json": (lambda p: p.write_text('{"method": "a", "settings": {}}'), "the record of a checkpoint", "beside it"),
    "checkpoint.json": (lambda p: p.write_text(CHECKPOINT), "the record of a checkpoint", ".safetensors beside it"),
    "coco.json": (lambda p: p.write_text('{"images": []}'), "a JSON file of another tool", ""),
    "scores.csv": (lambda p: p.write_text("a,b\n1,2\n"), "a text file (csv)", ""),
    "manifest.json": (lambda p: p.write_text('{"splits": {}}'), "the manifest of a set", ""),
    "scores.json": (lambda p: p.write_text('{"rows": []}'), "a file of scores", "patchbank compare"),
    "nothing": (lambda p: p.touch(), "an empty file", ""),
}


@pytest.fixture(params=list(MADE))
def named(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str, str]:
    """A file, what it is, and what its sentence must hold."""
    make, what, use = MADE[request.param]
    make(tmp_path / request.param)
    return tmp_path / request.param, what, use.format(folder=tmp_path)


def test_a_file_says_what_it_is(named: tuple[Path, str, str]) -> None:
    path, what, use = named
    found, said = recognise(path)
    assert found.startswith(what)
    assert use in said


@pytest.mark.parametrize("command", ["info", "verify"])
def test_a_file_that_is_no_bank(command: str, named: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, what, use = named
    before = path.read_bytes()
    assert main([command, str(path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"patchbank: {path} is {what}")
    assert "not a bank" in said
    assert use in said
    assert not re.search("delete|remove", said, re.IGNORECASE)
    assert path.read_bytes() == before


def test_a_file_that_is_no_checkpoint(named: tuple[Path, str, str]) -> None:
    path, what, _ = named
    with pytest.raises(UserError) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path} is {what}")
    assert "not a checkpoint" in str(caught.value)


@pytest.mark.parametrize(
    ("read", "meant"),
    [(Statistics.load, "a file of statistics"), (lambda path: dataset_ids(path, 2), "a file of segment clusters")],
)
def test_a_file_that_is_not_the_archive_that_was_meant(
    read: Callable[[Path], object], meant: str, named: tuple[Path, str, str], tmp_path: Path
) -> None:
    path, what, _ = named
    if what == meant:
        return
    with pytest.raises(UserError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} is {what}")
    assert f", not {meant}. " in str(caught.value)
    np.save(tmp_path / "one.npy", [1.0])
    with pytest.raises(UserError, match=f"one.npy is .*, not {meant}"):
        read(tmp_path / "one.npy")
    with pytest.raises(UserError, match=r"absent\.npz does not exist"):
        read(tmp_path / "absent.npz")


def test_a_file_that_is_no_run(named: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, what, _ = named
    assert main(["compare", str(path), str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"patchbank: {path} is {what}")


def test_a_pointer_is_the_record_of_a_bank(tmp_path: Path) -> None:
    (tmp_path / "val-whole.json").write_text('{"bank": "../bank/whole-0123", "record": {}}')
    assert recognise(tmp_path / "val-whole.json")[0] == "the record of a bank"


def test_a_checkpoint_is_no_bank(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "head.safetensors", {"a": torch.ones(1)}, {"method": "alignseg"})
    with pytest.raises(UserError, match=r"is a checkpoint of alignseg, not a bank. `patchbank segment PICTURES"):
        read_record(tmp_path / "head.safetensors")


def test_folders_that_are_no_banks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a folder without bank.json and report.json, not a bank.*data check"):
        read_record(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({}))
    with pytest.raises(UserError, match=r"is the folder of a run, not a bank.*compare"):
        read_record(tmp_path)
    with pytest.raises(UserError, match=r"absent does not exist. A bank is named by its folder"):
        read_record(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"no archive", b"", b"PK\x03\x04cut", b"\x93NUMPY\x01\0"])
def test_a_broken_archive_is_named_without_advice_to_delete_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_npz(tmp_path / "x.npz")
    assert "delete" not in str(caught.value)


def test_no_message_advises_to_delete_what_the_pipeline_may_not_have_made() -> None:
    allowed = {"patchbank/bank/format.py"}  # of shards that carry the bank's own hash: `made_and_kept`
    advice = re.compile(
        r"\b(delete (it\b|the\b|this|these|them|that|\{)|remove (it|them|these|or)\b|or remove\b)", re.IGNORECASE
    )
    found = set()
    for path in sorted((ROOT / "patchbank").rglob("*.py")):
        text = re.sub(r'"""(.*?)"""', "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        if advice.search(text):
            found.add(path.relative_to(ROOT).as_posix())
    assert found <= allowed
