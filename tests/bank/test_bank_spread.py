"""One extraction over several devices: as many processes, the same bank. Devices are counted from a variable."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bank_factory import TINY, extract_all, make_images
from hypothesis import given
from hypothesis import strategies as st

from patchbank.bank import spread
from patchbank.bank.claims import share
from patchbank.bank.decoding import SOCKET_FOLDER
from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.bank.spread import DEFECT, REFUSED, _fill, _output, _piece, _with_package, extract_on
from patchbank.bank.verify import verify_bank
from patchbank.datasets.manifest import Manifest
from patchbank.devices import VARIABLE, VISIBLE
from patchbank.errors import UserError
from patchbank.files import read_json
from patchbank.leases import Leases
from patchbank.plain import to_plain
from patchbank.stopping import STATUS, Stopped, install

WHOLE = ExtractSettings("whole", {"size": 32}, images_per_shard=3)


@pytest.fixture
def world(tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_images(tmp_path, 9)
    monkeypatch.setenv(VARIABLE, "0,1")
    monkeypatch.setenv("TMPDIR", str(short_folder))
    monkeypatch.setenv(VISIBLE, os.environ.get(VISIBLE, ""))  # put back afterwards
    return tmp_path


def job_of(folder: Path, name: str) -> ExtractJob:
    files = (folder / "weights.safetensors", folder / "weights.json")
    return ExtractJob(folder / "manifest.json", "train", TINY, *files, WHOLE, folder / name, folder / f"{name}.json")


def test_temporary_files_lie_where_a_socket_fits(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from multiprocessing.connection import Listener; Listener(family='AF_UNIX')"
    for length, said in ((SOCKET_FOLDER, b""), (SOCKET_FOLDER + 1, b"path too long")):
        folder = short_folder / ("x" * (length - len(str(short_folder)) - 1))
        folder.mkdir()
        run = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(folder)}, stderr=subprocess.PIPE
        )
        assert said in run.stderr
        assert (run.returncode == 0) == (not said)
    make_images(tmp_path, 1)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(UserError, match=rf"{folder}, has a path of {SOCKET_FOLDER + 1} bytes.* set TMPDIR"):
        extract_all(tmp_path, ExtractSettings("whole", {"size": 32}))


@given(st.integers(0, 40), st.integers(1, 7), st.integers(1, 9))
def test_processes_of_a_job_share_all_of_its_shards(shards: int, jobs: int, devices: int) -> None:
    for job in range(jobs):
        pieces = [shard for one in range(devices) for shard in share(shards, [(job, jobs), (one, devices)])]
        assert pieces == share(shards, [(job, jobs)])
    assert [shard for job in range(jobs) for shard in share(shards, [(job, jobs)])] == list(range(shards))


def test_two_devices_make_the_bank_that_one_makes(world: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        extract_on(job_of(world, "two"), 2)
    text = caplog.text
    assert "process 1 of 2: computes on device" in text
    assert "process 2 of 2: computes on device" in text
    assert {line[-1] for line in text.splitlines() if "computes on device" in line} == {"0", "1"}
    assert text.count("shards to compute") == 2  # and none in this process
    torch.set_num_threads(1)  # as those processes have; bits are those of a number of threads
    extract(job_of(world, "one"))
    done = {name: read_json(world / f"{name}.json") for name in ("one", "two")}
    assert done["one"]["record"] == done["two"]["record"]
    shards = {name: sorted((world / done[name]["folder"]).glob("0*.h5")) for name in done}
    assert len(shards["one"]) > 2
    assert [p.read_bytes() for p in shards["one"]] == [p.read_bytes() for p in shards["two"]]
    finish([world / "two.json"], world / "manifest.json", world / "pointer.json")
    assert verify_bank(world / "pointer.json") == 9


def test_each_of_several_processes_asks_for_the_room_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_images(tmp_path, 6)

    def asked(job: ExtractJob) -> float:
        """Bytes for which the disk is asked; nothing is computed."""
        bytes_asked: list[float] = []

        def refuse(_folder: Path, needed: float, _way_out: str) -> None:
            bytes_asked.append(needed)
            raise UserError("full")

        monkeypatch.setattr("patchbank.bank.extract.check_space", refuse)
        with pytest.raises(UserError, match="full"):
            extract(job)
        return bytes_asked[0]

    pieces = [_piece(job_of(tmp_path, "asked"), index, 2, tmp_path) for index in range(2)]
    assert [piece.beside for piece in pieces] == [2, 2]
    assert asked(pieces[0]) == 2 * asked(replace(pieces[0], beside=1)) > 0


BOTH = """#!/bin/sh
trap {trap} TERM
read -r job
: > "$0.$$"
while [ "$(ls "$0".* | wc -l)" -lt 2 ]; do sleep 0.01; done
"""
"""Begin of a process that goes on when two of them can handle the signal."""
PART = """
case "$job" in
*'"piece": [0, 2]'*) echo 'a library was here'; printf '%s\\n' '"first\\nTraceback"'; exit {first} ;;
*) echo '"disk is full"'; printf '"cut'; exit {second} ;;
esac
"""


def run_as_processes(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shell script stand for a process."""
    (folder / "part").write_text(script)
    (folder / "part").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "part"))


@pytest.mark.parametrize(
    ("statuses", "error", "said"),
    [
        ((3, 3), UserError, 'Extraction failed:\n  - first\nTraceback\n  - "cut'),
        ((1, 3), RuntimeError, 'process 1 of 2 ended with status 1; "cut'),
        ((1, 7), RuntimeError, "process 1 of 2 ended with status 1; process 2 of 2 ended with status 7"),
    ],
)
def test_what_all_processes_say_is_logged_and_collected(
    statuses: tuple[int, int],
    error: type[Exception],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_as_processes(BOTH.format(trap="''") + PART.format(first=statuses[0], second=statuses[1]), tmp_path, monkeypatch)
    with caplog.at_level(logging.INFO), pytest.raises(error) as raised:
        extract_on(job_of(tmp_path, "said"), 2)
    assert str(raised.value) == said
    for line in (
        "process 1 of 2: a library was here",
        "process 1 of 2: first\nTraceback",
        "process 2 of 2: disk is full",
    ):
        assert line in caplog.text


LONG = """
case "$job" in
*'"piece": [0, 2]'*) echo '"a.png: no picture"'; exit {status} ;;
*) while :; do sleep 0.05; done ;;
esac
"""


@pytest.mark.parametrize("trap", ["'echo Stopped; exit 143'", "-"])
@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (REFUSED, UserError, "a.png: no picture"),
        (DEFECT, RuntimeError, "process 1 of 2 ended with status 1"),
        (STATUS, Stopped, str(STATUS)),
    ],
)
def test_who_cannot_fill_its_part_stops_the_others(
    trap: str, status: int, error: type[BaseException], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_as_processes(BOTH.format(trap=trap) + LONG.format(status=status), tmp_path, monkeypatch)
    with pytest.raises(error) as raised:
        extract_on(job_of(tmp_path, "refused"), 2)
    assert str(raised.value) == said


WAITING = """#!/bin/sh
read -r job
trap 'echo \'"ended"\'; exit 143' TERM
echo '"ready"'
while :; do sleep 0.05; done
"""


def test_the_processes_are_told_when_the_one_that_started_them_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_as_processes(WAITING, tmp_path, monkeypatch)
    before = signal.getsignal(signal.SIGTERM)
    install()

    def stop() -> None:
        while caplog.text.count("ready") < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    try:
        with caplog.at_level(logging.INFO), pytest.raises(Stopped):
            extract_on(job_of(tmp_path, "stopped"), 2)
    finally:
        install()
        signal.signal(signal.SIGTERM, before)
    assert caplog.text.count("of 2: ended") == 2


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "bank/0000.h5"), REFUSED, "bank/0000.h5: the disk takes no more files"),
        (UserError("two files", details=["first file"]), REFUSED, "first file"),
        (ValueError("of ours"), DEFECT, "Traceback"),
        (OSError(errno.EBADF, "Bad file descriptor"), DEFECT, "Bad file descriptor"),
        (Stopped(), STATUS, "Stopped by SIGTERM"),
    ],
)
def test_a_process_tells_what_the_disk_refuses_from_a_defect(
    error: BaseException,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(_job: ExtractJob) -> None:
        raise error

    monkeypatch.setattr(spread, "extract", fail)
    monkeypatch.setattr(spread.devices, "claim", lambda: None)
    assert _fill(replace(job_of(tmp_path, "failed"), threads=torch.get_num_threads())) == status
    assert said in caplog.text
    assert ("defect" in caplog.text) == (status == DEFECT)


def test_messages_have_standard_output_to_themselves(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = os.dup(1)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back afterwards
    try:
        with _output() as out:
            os.write(1, b"of a C library\n")
            out.write("of ours\n")
    finally:
        os.dup2(before, 1)
        os.close(before)
    assert capfd.readouterr() == ("of ours\n", "of a C library\n")


@pytest.mark.exhaustive
def test_what_a_process_refuses_is_said_once(world: Path) -> None:
    broken = next((world / "data" / "images" / "train").iterdir())
    broken.write_bytes(b"no picture")
    with pytest.raises(UserError, match=broken.name) as error:
        extract_on(job_of(world, "broken"), 2)
    assert str(error.value).count(broken.name) == 1
    assert not (world / "broken.json").exists()


@pytest.mark.exhaustive
def test_an_unreadable_image_ends_a_process_that_would_wait_for_ever(world: Path) -> None:
    extract(job_of(world, "kept"))
    folder = world / read_json(world / "kept.json")["folder"]
    shards = sorted(folder.glob("0*.h5"))
    for shard in (shards[0], shards[-1]):
        shard.unlink()
    made = [shard.read_bytes() for shard in shards[1:-1]]
    last = max(Manifest.load(world / "manifest.json").entries("train"), key=lambda entry: entry.id)
    image = world / "data" / last.image
    content = image.read_bytes()
    image.write_bytes(b"no picture")
    with Leases() as leases:
        assert leases.take(shards[0])  # the first process waits for it
        with pytest.raises(UserError, match=image.name) as error:
            extract_on(job_of(world, "kept"), 2)
    assert str(error.value).count(image.name) == 1
    assert "143" not in str(error.value)
    assert not list(folder.glob(".*"))
    image.write_bytes(content)
    extract(job_of(world, "kept"))
    assert [shard.read_bytes() for shard in shards[1:-1]] == made
    finish([world / "kept.json"], world / "manifest.json", world / "pointer.json")
    assert verify_bank(world / "pointer.json") == 9


@pytest.mark.exhaustive
def test_processes_end_with_the_one_that_started_them(world: Path) -> None:
    command = [sys.executable, "-m", "patchbank.bank.spread"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=_with_package())
    assert process.stdin is not None
    process.stdin.write(json.dumps(to_plain(job_of(world, "left"))).encode() + b"\n")
    process.stdin.close()
    assert process.wait(300) == 1


PARENT = """
import json, logging, sys
from patchbank import stopping
from patchbank.bank.extract import ExtractJob
from patchbank.bank.spread import extract_on
from patchbank.plain import from_plain
stopping.install()
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
extract_on(from_plain(ExtractJob, json.loads(sys.argv[1])), 2)
"""


@pytest.mark.exhaustive
def test_a_signal_to_one_process_ends_all(world: Path) -> None:
    command = [sys.executable, "-c", PARENT, json.dumps(to_plain(job_of(world, "ended")))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_with_package()) as process:
        assert process.stdout is not None
        lines = []
        while sum("computes on device" in line for line in lines) < 2:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=300)[0]  # the processes write there too: all have ended
    assert process.returncode == STATUS
    assert said.count("Stopped by SIGTERM") == 2
    assert not (world / "ended.json").exists()
