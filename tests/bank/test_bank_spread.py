"""One extraction over several devices: as many processes, the same bank. Devices are counted from a variable."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bank_factory import TINY, make_images

from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.bank.spread import _with_package, extract_on
from patchbank.bank.verify import verify_bank
from patchbank.devices import VARIABLE, VISIBLE
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.plain import to_plain

WHOLE = ExtractSettings("whole", {"size": 32}, images_per_shard=3)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_images(tmp_path, 9)
    monkeypatch.setenv(VARIABLE, "0,1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv(VISIBLE, os.environ.get(VISIBLE, ""))  # put back afterwards
    return tmp_path


def job_of(folder: Path, name: str) -> ExtractJob:
    files = (folder / "weights.safetensors", folder / "weights.json")
    return ExtractJob(folder / "manifest.json", "train", TINY, *files, WHOLE, folder / name, folder / f"{name}.json")


def test_two_devices_make_the_bank_that_one_makes(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        extract_on(job_of(world, "two"), 2)
    text = caplog.text
    assert "part 1 of 2: computes on device" in text
    assert "part 2 of 2: computes on device" in text
    assert {line[-1] for line in text.splitlines() if "computes on device" in line} == {"0", "1"}
    assert text.count("shards to compute") == 2  # and none in this process
    extract(job_of(world, "one"))
    done = {name: read_json(world / f"{name}.json") for name in ("one", "two")}
    assert done["one"]["record"] == done["two"]["record"]
    shards = {name: sorted((world / done[name]["folder"]).glob("0*.h5")) for name in done}
    assert len(shards["one"]) > 2
    assert [p.read_bytes() for p in shards["one"]] == [p.read_bytes() for p in shards["two"]]
    finish([world / "two.json"], world / "manifest.json", world / "pointer.json")
    assert verify_bank(world / "pointer.json") == 9


@pytest.mark.exhaustive
def test_what_a_process_refuses_is_said_once(world: Path) -> None:
    broken = next((world / "data" / "images" / "train").iterdir())
    broken.write_bytes(b"no picture")
    with pytest.raises(UserError, match=broken.name) as error:
        extract_on(job_of(world, "broken"), 2)
    assert str(error.value).count(broken.name) == 1
    assert not (world / "broken.json").exists()


@pytest.mark.exhaustive
def test_processes_end_with_the_one_that_started_them(world: Path) -> None:
    command = [sys.executable, "-m", "patchbank.bank.spread"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=_with_package())
    assert process.stdin is not None
    process.stdin.write(json.dumps(to_plain(job_of(world, "left"))).encode() + b"\n")
    process.stdin.close()
    assert process.wait(60) == 1
