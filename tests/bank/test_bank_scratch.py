"""Shards by way of a node's own disk, and banks read from copies there: the same bytes, nothing left, one sentence."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bank_factory import extract_all, make_images
from head_world import job_of
from jobs import train_job

from patchbank.bank import scratch as scratch_module
from patchbank.bank.extract import ExtractSettings
from patchbank.bank.format import read_record
from patchbank.bank.reader import open_bank
from patchbank.bank.scratch import VARIABLE, check_scratch, copies, copy_of
from patchbank.bank.statistics import compute_statistics
from patchbank.errors import UserError
from patchbank.files import DAY
from patchbank.methods.contract import run_train

SETTINGS = ExtractSettings("whole", {"size": 32}, images_per_shard=2, batch_tokens=16)
Copy = Callable[[Any, Any], Any]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures and their bank, of four shards, made without scratch."""
    folder = tmp_path_factory.mktemp("plain")
    make_images(folder, 6)
    extract_all(folder, SETTINGS)
    compute_statistics(folder / "whole.json", folder / "statistics.npz")
    return folder


@pytest.fixture
def world(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same pictures without a bank; scratch is an empty folder."""
    for name in ("data", "manifest.json", "weights.safetensors", "weights.json"):
        (tmp_path / name).symlink_to(plain / name)
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "scratch"))
    return tmp_path


def shards(bank: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bank.rglob("0*.h5")}


def left(folder: Path) -> list[str]:
    return [path.name for path in (*(folder / "scratch").rglob("*"), *(folder / "bank").rglob(".*"))]


def with_copy(monkeypatch: pytest.MonkeyPatch, around: Callable[[Copy, Any, Any], Any]) -> None:
    """Copies of files are made by `around`, which is given the true function, source and target."""
    true = shutil.copyfile
    monkeypatch.setattr(scratch_module.shutil, "copyfile", lambda source, target: around(true, source, target))


def test_shards_are_written_in_scratch_and_moved_whole(
    plain: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = []

    def tell(copy: Copy, source: Path, target: Path) -> Any:
        moved.append(source.name)
        assert source.is_relative_to(world / "scratch")
        assert not target.with_name(source.name).exists()  # not under its name before it is whole
        assert target.with_name(f".{source.name}.lease").is_file()
        return copy(source, target)

    with_copy(monkeypatch, tell)
    extract_all(world, SETTINGS)
    assert shards(world / "bank") == shards(plain / "bank")
    assert sorted(moved) == sorted(shards(plain / "bank"))
    assert left(world) == []


def test_a_disk_that_fills_in_the_middle_keeps_what_is_whole(
    plain: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(copy: Copy, source: Path, target: Path) -> Any:
        calls.append(source.name)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source))
        return copy(source, target)

    with_copy(monkeypatch, full)
    with pytest.raises(
        UserError, match=rf"by way of {world}/scratch, failed .*No space left.*complete shards are kept"
    ):
        extract_all(world, SETTINGS)
    assert list(shards(world / "bank")) == calls[:1]
    assert left(world) == []
    extract_all(world, SETTINGS)
    assert calls.count(calls[0]) == 1
    assert shards(world / "bank") == shards(plain / "bank")


def test_a_kill_while_a_shard_is_moved_leaves_what_the_next_run_removes(
    plain: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(copy: Copy, source: Path, target: Path) -> Any:
        target.write_bytes(source.read_bytes()[:1000])
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            torch.set_num_threads(1)  # threads of the process that was forked are not there
            with_copy(monkeypatch, half)
            extract_all(world, SETTINGS)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert shards(world / "bank") == {}
    names = left(world)
    assert any(name.startswith(".patchbank-shards.") for name in names)
    assert any(name.endswith(".tmp.h5") for name in names)
    extract_all(world, SETTINGS)
    assert shards(world / "bank") == shards(plain / "bank")
    assert left(world) == []


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            "{}/nowhere",
            r"PATCHBANK_SCRATCH names .*/nowhere, which is no folder on \S+ that can be written to; make it",
        ),
        ("{}/manifest.json", "which is no folder"),
        ("$NOT_SET_HERE/x", r"PATCHBANK_SCRATCH: .* no variable NOT_SET_HERE; set it"),
    ],
)
def test_scratch_that_is_not_there_is_one_sentence(
    world: Path, monkeypatch: pytest.MonkeyPatch, named: str, said: str
) -> None:
    monkeypatch.setenv(VARIABLE, named.format(world))
    with pytest.raises(UserError, match=said):
        extract_all(world, SETTINGS)
    assert shards(world / "bank") == {}


def test_scratch_without_room_for_a_shard_is_one_sentence(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = shutil.disk_usage

    def usage(path: Any) -> Any:
        return true(path)._replace(free=1000) if Path(path).is_relative_to(world / "scratch") else true(path)

    monkeypatch.setattr("patchbank.files.shutil.disk_usage", usage)
    with pytest.raises(UserError, match=r"/scratch needs 0.0 GB and .* free; free some space there, or name another"):
        extract_all(world, SETTINGS)


def test_a_training_reads_a_copy_and_learns_the_same(plain: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"whole": plain / "whole.json", "statistics": plain / "statistics.npz", "manifest": plain / "manifest.json"}
    copied = []
    with_copy(monkeypatch, lambda copy, source, target: copied.append(Path(target)) or copy(source, target))
    run_train(job_of(files, "smooseg", world / "copy", views="whole"))
    assert len(copied) == len(shards(plain / "bank"))
    assert all(path.is_relative_to(world / "scratch") for path in copied)
    assert left(world) == []
    monkeypatch.delenv(VARIABLE)
    run_train(job_of(files, "smooseg", world / "place", views="whole"))
    assert len(copied) == len(shards(plain / "bank"))
    for name in ("checkpoint.safetensors", "epochs.csv"):
        assert (world / "copy" / name).read_bytes() == (world / "place" / name).read_bytes()


def test_a_training_that_reads_a_sample_once_copies_nothing(
    plain: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"k": [3], "kmeans_seeds": [0], "sample": 60, "kmeans": {"niter": 3, "nredo": 1}}
    settings["projection"] = {"centre": "mean", "pca": 8, "whiten": False, "normalise": False}
    common = {"banks": {"whole": plain / "whole.json"}, "statistics": plain / "statistics.npz", "settings": settings}
    copied = []
    with_copy(monkeypatch, lambda copy, source, target: copied.append(Path(target)) or copy(source, target))
    run_train(train_job("kmeans", world / "out", **common))
    assert (world / "out" / "checkpoint.safetensors").is_file()
    assert copied == []


def test_a_copy_that_is_only_read_stays_when_another_host_sweeps(
    plain: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = read_record(plain / "whole.json")[0]
    monkeypatch.setattr("patchbank.leases.BEAT", 0.01)
    two_days_ago = time.time() - 2 * DAY
    with copies([folder]):
        inside = copy_of(folder).parent
        for path in (*inside.rglob("*"), inside):
            os.utime(path, (two_days_ago, two_days_ago))
        end = time.monotonic() + 10
        while max(path.stat().st_mtime for path in inside.rglob("*")) < two_days_ago + 1 and time.monotonic() < end:
            time.sleep(0.01)
        monkeypatch.setattr("patchbank.alive._system", lambda: "another")
        check_scratch(0)
        assert shards(inside)
        left_over = Path(shutil.copytree(inside, inside.with_name(f"{inside.name[:-5]}0.tmp")))
    for path in (*left_over.rglob("*"), left_over):
        os.utime(path, (two_days_ago, two_days_ago))
    check_scratch(0)
    assert left(world) == []


def test_a_bank_that_lacks_a_shard_is_named_by_where_it_lies(plain: Path, world: Path) -> None:
    shutil.copytree(read_record(plain / "whole.json")[0], world / "own")
    (gone, damaged, *_) = sorted((world / "own").glob("0*.h5"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:1000])
    with copies([world / "own"]), pytest.raises(UserError, match=f"^{damaged} is not readable"):
        open_bank(world / "own").read(np.arange(6), ("tokens",))
    gone.unlink()
    said = rf"^{world}/own misses 1 shard\(s\), first {gone.name}\. Extract again"
    with pytest.raises(UserError, match=said), copies([world / "own"]):
        pass
    assert left(world) == []


def test_copies_are_read_while_they_are_there(
    plain: Path, world: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = open_bank(plain / "whole.json").read(np.arange(6), ("tokens",))["tokens"]
    folder = read_record(plain / "whole.json")[0]
    with copies([plain / "whole.json", folder]):
        inside = copy_of(folder)
        assert inside.is_relative_to(world / "scratch")
        np.testing.assert_array_equal(
            open_bank(plain / "whole.json", check=True).read(np.arange(6), ("tokens",))["tokens"], expected
        )
        # what is read is the copy: without a shard of it there is no bank
        next(inside.glob("0*.h5")).unlink()
        with pytest.raises(UserError, match=rf"^The copy of {folder}/0\d+.h5 in {VARIABLE} was removed; run"):
            open_bank(plain / "whole.json").read(np.arange(6), ("tokens",))
    assert copy_of(folder) == folder
    assert left(world) == []
    usage = shutil.disk_usage(world)._replace(free=1000)
    monkeypatch.setattr(scratch_module.shutil, "disk_usage", lambda _: usage)
    with caplog.at_level(logging.WARNING), copies([plain / "whole.json"]):
        assert copy_of(folder) == folder
    assert "has no room in" in caplog.text
    assert "is read where it lies" in caplog.text
    assert left(world) == []
