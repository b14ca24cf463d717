"""Devices: which there are, and that jobs which run at the same time get one each."""

from __future__ import annotations

import errno
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from workflow_tools import ROOT

from patchbank import devices
from patchbank.devices import VARIABLE, VISIBLE, claim, cuda_present, hide, lock_path, shares

HOLD = """
import os, sys, time
from patchbank.devices import claim
print(claim(), os.environ["CUDA_VISIBLE_DEVICES"], "torch" in sys.modules, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a test lie in its own folder."""
    monkeypatch.setattr(devices.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for name in (VARIABLE, VISIBLE, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def jobs() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that hold devices; they are killed at the end."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for job in started:
        job.kill()
        job.communicate()


def hold(jobs: list[subprocess.Popen[str]]) -> list[str]:
    """Start a process that claims a device; what it says when it has one."""
    job = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    jobs.append(job)
    assert job.stdout is not None
    return job.stdout.readline().split()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({VARIABLE: "0,1, 2"}, ("0", "1", "2")),
        ({VARIABLE: "GPU-8f,MIG-1", VISIBLE: "0"}, ("GPU-8f", "MIG-1")),
        ({VARIABLE: "3,-1,4"}, ("3",)),
        ({VARIABLE: "-1"}, ()),
    ],
)
def test_devices_are_named_by_the_variable(
    variables: dict[str, str], expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert devices.devices() == expected
    assert cuda_present() == bool(expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1", ("1",)), ("0,1", ("0", "1")), ("0,1,2", ("0", "1")), ("", ()), ("3", ("3",)), ("1,2", ("1", "2"))],
)
def test_in_a_job_of_slurm_they_are_those_that_slurm_gave(
    given: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ((VARIABLE, "0,1"), ("SLURM_JOB_ID", "7"), (VISIBLE, given)):
        monkeypatch.setenv(name, value)
    assert devices.devices() == expected


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, ("0", "1", "2")), ("2,0", ("2", "0")), ("GPU-1a", ("GPU-1a",)), ("", ()), ("-1", ()), ("1,-1,2", ("1",))],
)
def test_without_it_they_are_those_that_the_driver_shows_and_the_environment_leaves(
    visible: str | None, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("nvidia0", "nvidia1", "nvidia7", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    monkeypatch.setattr(devices, "Path", lambda *parts: tmp_path if parts == ("/dev",) else Path(*parts))
    if visible is not None:
        monkeypatch.setenv(VISIBLE, visible)
    assert devices.devices() == expected


def test_no_device_is_claimed_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "-1")
    assert claim() is None


def test_jobs_at_the_same_time_get_a_device_each_and_see_no_other(
    jobs: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "4,GPU-ab/1")
    assert [hold(jobs), hold(jobs)] == [["4", "4", "False"], ["GPU-ab/1", "GPU-ab/1", "False"]]


def test_a_device_is_free_when_its_job_is_killed_and_waited_for_before(
    jobs: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    hold(jobs)
    second = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    jobs.append(second)
    assert second.stdout is not None
    assert select.select([second.stdout], [], [], 1.5)[0] == []
    jobs[0].send_signal(signal.SIGKILL)
    assert second.stdout.readline().split()[0] == "0"


@pytest.mark.parametrize(
    ("listed", "given", "cores", "expected"),
    [
        ("0,1,2,3", 2, 6, (2, 3)),
        ("0,1,2,3", 8, 6, (4, 1)),
        ("0,1,2,3", 1, 6, (1, None)),
        ("0,1", None, 9, (2, 4)),
        ("0,1,2", 3, None, (3, 1)),
        ("0,1", 0, 8, (0, None)),
        ("-1", 8, 8, (0, None)),
    ],
)
def test_jobs_share_devices_and_cores(
    listed: str, given: int | None, cores: int | None, expected: tuple[int, int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, listed)
    assert shares(given, cores) == expected


def test_jobs_of_slurm_number_their_own_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = [lock_path("0")]
    for job in ("17", "18"):
        monkeypatch.setenv("SLURM_JOB_ID", job)
        paths.append(lock_path("0"))
    assert len(set(paths)) == 3
    assert all(path.parent == tmp_path and str(os.getuid()) in path.name for path in paths)


def test_hosts_that_share_a_folder_lock_their_own_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    here = lock_path("0")
    monkeypatch.setattr(devices.platform, "node", lambda: "other")
    assert lock_path("0") != here


def test_a_folder_that_locks_nothing_is_told_and_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "disk is broken")

    monkeypatch.setenv(VARIABLE, "1")
    monkeypatch.setenv(VISIBLE, "")  # claimed names are written here
    monkeypatch.setattr(devices.fcntl, "flock", refuse)
    assert claim() == "1"
    assert "locks nothing" in caplog.text
    assert "set TMPDIR" in caplog.text
    monkeypatch.setattr(devices.fcntl, "flock", fail)
    with pytest.raises(OSError, match="disk is broken"):
        claim()


def run_stage(folder: Path, resources: dict[str, int]) -> tuple[str, ...]:
    """Devices that a stage of these resources sees, of two."""
    code = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
from patchbank import devices, threads
from patchbank.scripting import stage

threads.limit = lambda _: None  # which imports torch
job = SimpleNamespace(log=[{str(folder / "log")!r}], threads=1, params={{}}, resources={resources!r}, output=[])
with stage(job):
    import os
    print(*devices.devices(), "visible", os.environ["CUDA_VISIBLE_DEVICES"])
"""
    environment = {**os.environ, VARIABLE: "4,5", VISIBLE: "4,5"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return tuple(done.stdout.split())


@pytest.mark.parametrize(
    ("resources", "seen"),
    [
        ({"gpu": 0}, ("visible",)),
        ({"gpu": 1}, ("4", "visible", "4")),
        ({"gpu": 2}, ("4", "5", "visible", "4,5")),  # an extraction, whose processes claim
        ({"mem_mb": 100}, ("4", "5", "visible", "4,5")),
    ],
)
def test_a_stage_sees_the_devices_that_its_rule_asks_for(
    resources: dict[str, int], seen: tuple[str, ...], tmp_path: Path
) -> None:
    assert run_stage(tmp_path, resources) == seen


def test_hiding_devices_changes_nothing_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "-1")
    hide()
    assert VISIBLE not in os.environ


def test_the_profile_of_slurm_asks_for_the_device_of_every_rule_that_may_use_one() -> None:
    rules = [part for file in (ROOT / "workflow" / "rules").glob("*.smk") for part in file.read_text().split("\n\n\n")]
    named = re.compile(r"^rule (\w+):|scripts/(\w+)\.py", re.M)  # some rules have no name
    names = {"".join(named.findall(part)[0]) for part in rules if re.search(r"^ +gpu=", part, re.M)}
    asked = yaml.safe_load((ROOT / "profiles" / "slurm" / "profile.yaml").read_text())["set-resources"]
    assert len(names) > 3
    assert {name for name, resources in asked.items() if resources.get("gpu")} == names
