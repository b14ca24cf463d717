"""Who works on a file: leases that die with their holder, and temporary files whose writers are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from patchbank import leases as module
from patchbank.alive import SILENT, Process, age, this_process
from patchbank.files import atomic_folder, atomic_path, sweep
from patchbank.leases import Leases, alone, holder, lease_file, sweep_leases

ELSEWHERE = Process("far", "0123abcd", 1, 5)
WORK = """
import sys, time
from pathlib import Path
from patchbank.files import atomic_path
from patchbank.leases import Leases
with Leases() as leases, atomic_path(Path(sys.argv[1])):
    print(leases.take(Path(sys.argv[1]), "work"), flush=True)
    time.sleep(600)
"""


@contextmanager
def worker(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease of a file, and writes it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WORK, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def leave(path: Path, process: Process, silent: float) -> None:
    """The lease of a process, whose last sign of life was so many seconds ago."""
    file = lease_file(path)
    file.write_text(f"{process}\nwork\n")
    then = time.time() - silent
    os.utime(file, (then, then))


def test_the_name_of_a_process_comes_back() -> None:
    me = this_process()
    assert Process.parse(str(me)) == me
    assert me.pid == os.getpid()
    assert me.gone() is False
    assert Process(me.host, me.system, me.pid, me.start + 1).gone() is True  # its number was given again
    assert ELSEWHERE.gone() is None
    for text in ("", "tmp", "a~b~c~d", "a~b~1", "kd83nf_a"):
        assert Process.parse(text) is None


def test_a_lease_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    with worker(path) as process, Leases() as leases:
        by = holder(path)
        assert by is not None
        assert by.what == "work"
        assert by.process is not None
        assert by.process.pid == process.pid
        assert not leases.take(path)
        sweep([path])
        sweep_leases(tmp_path)
        assert len(list(tmp_path.glob(".shard.*.tmp.h5"))) == 1  # it is being written
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert holder(path) is None
        assert leases.take(path)
        assert not leases.take(path)  # nor twice by one process
        sweep([path])
        assert list(tmp_path.iterdir()) == [lease_file(path)]
    assert list(tmp_path.iterdir()) == []


def test_signs_of_life_count_where_the_process_cannot_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    for text in (None, "half a na"):
        leave(path, ELSEWHERE, SILENT / 2)
        if text is not None:
            lease_file(path).write_text(text)
        with Leases() as leases:
            assert not leases.take(path)
            leave(path, ELSEWHERE, SILENT + 5)
            assert leases.take(path)
    assert not lease_file(path).exists()


def test_leases_are_touched_while_they_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.01)
    path = tmp_path / "shard.h5"
    with Leases() as leases:
        assert leases.take(path)
        os.utime(lease_file(path), (1, 1))
        deadline = time.monotonic() + 10
        while age(lease_file(path)) > 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert age(lease_file(path)) < 5


def test_of_many_that_find_a_dead_lease_one_takes_it(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"{number}.h5"
        leave(path, ELSEWHERE, 2 * SILENT)
        with Leases() as leases, ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda _, path=path, leases=leases: leases.take(path), range(8)))
            assert taken.count(True) == 1
            leases.give_back(path)
            assert leases.take(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("links", [True, False])
def test_a_lease_that_was_put_back_too_late_binds_nobody(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One breaks a dead lease, which another one meanwhile breaks, takes, and gives back."""
    path = tmp_path / "shard.h5"
    file = lease_file(path)
    dead, link = module._break, os.link
    leave(path, ELSEWHERE, 2 * SILENT)
    with Leases() as first:
        assert first.take(path, "work")
        text = file.read_text()

        def late(source: Path, target: Path) -> None:
            first.give_back(path)
            if not links:
                raise PermissionError("no hard links")
            link(source, target)

        monkeypatch.setattr(module.os, "link", late)
        dead(file)  # by one that had seen the lease from elsewhere
        assert [one.read_text() for one in tmp_path.iterdir()] == [text] * links
        assert holder(path) is None
        with alone(path, "work") as waited:
            assert not waited
            assert not first.take(path)  # one at a time, as ever
        assert first.take(path)
    assert list(tmp_path.iterdir()) == []


def test_sweeping_removes_what_dead_processes_put_aside(tmp_path: Path) -> None:
    me = this_process()
    file = lease_file(tmp_path / "shard.h5")
    asides = [file.with_name(f"{file.name}.{by}") for by in (me, replace(me, start=me.start + 1), ELSEWHERE)]
    for aside in asides:
        aside.touch()
    sweep_leases(tmp_path)
    assert set(tmp_path.iterdir()) == {asides[0], asides[2]}
    os.utime(asides[2], (1, 1))
    sweep_leases(tmp_path)
    assert set(tmp_path.iterdir()) == {asides[0]}


def test_a_process_that_proc_hides_is_not_taken_for_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(pid: int) -> int | None:
        raise FileNotFoundError(pid)

    def others(pid: int, number: int) -> None:
        raise PermissionError(pid)

    monkeypatch.setattr("patchbank.alive._start", hidden)
    me = this_process()
    assert me.gone() is None
    assert replace(me, pid=2**22 + 1).gone() is True  # above the kernel's largest
    assert replace(me, pid=10**20).gone() is True
    monkeypatch.setattr("patchbank.alive.os.kill", others)
    assert me.gone() is None


def test_alone_waits_and_says_whether_the_other_did_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.01)
    path = tmp_path / "checkpoint"
    for what, same in (("work", True), ("other", False)):
        with worker(path) as process:
            end = threading.Timer(0.2, process.kill)
            end.start()
            with alone(path, what) as waited:
                assert waited is same
                assert process.poll() is not None or process.wait() != 0
    with alone(path, "work") as waited:
        assert waited is False


def test_sweeping_removes_what_dead_processes_left(tmp_path: Path) -> None:
    target, folder = tmp_path / "a.json", tmp_path / "set"
    me = this_process()
    dead = Process(me.host, me.system, me.pid, me.start + 1)
    left = [tmp_path / f".a.{dead}.x1.tmp.json", tmp_path / f".set.{dead}.x2.tmp" / "file"]
    kept = [tmp_path / name for name in (f".b.{dead}.x.tmp.json", ".a.kd83.tmp.json", f".a.{ELSEWHERE}.x.tmp.json")]
    old = tmp_path / f".a.{ELSEWHERE}.y.tmp.json"
    written = tmp_path / f".set.{ELSEWHERE}.z.tmp" / "below" / "file"  # far away, a minute ago
    written.parent.mkdir(parents=True)
    for path in (*left, *kept, old, written):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for path in (old, written.parent, written.parents[1]):
        os.utime(path, (1, 1))
    kept.append(written.parents[1])
    with atomic_path(target) as one, atomic_folder(folder) as two:
        sweep([target, folder])
        assert set(tmp_path.iterdir()) == {*kept, one, two}
    assert set(tmp_path.iterdir()) == {*kept, target, folder}
