"""Leases: one process at a time works on a file, whatever hosts and checkouts the others run in.

A lease is a file `.<name>.lease` beside the file it is about. It names its holder (`patchbank.alive`), who touches it
every few seconds; it ends with its holder: at once on the same host, after `SILENT` seconds seen from another one. No
lock of the system is used, because on network file systems two hosts may both be told that they hold it.

Leases spare work, and keep a process from removing what another one still writes. That files are right never hangs on
them: what is written appears at once and whole (`patchbank.files.atomic_path`), so that the worst that a host can do
that was cut off for minutes and comes back is to compute something twice.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from patchbank.alive import SILENT, Process, age, this_process

LOG = logging.getLogger(__name__)
BEAT = SILENT / 8
"""Seconds between two signs of life."""
PAUSE = 0.5
"""Seconds between two looks at a lease that somebody else holds."""
ENDING = ".lease"
_HELD: dict[tuple[int, str], object] = {}
"""Leases that are held or being taken, by process id (a child after a fork holds none) and real path. One that names
this process and is not here is left over: somebody put it back (`_break`) after it had been given back."""


@dataclass(frozen=True)
class Holder:
    """Who works on a file.

    Attributes:
        process: the holder; None while it is still writing its name.
        what: what it does, as it said.
    """

    process: Process | None
    what: str

    @property
    def told(self) -> str:
        """For people."""
        return "another process" if self.process is None else self.process.told


def lease_file(path: Path) -> Path:
    """Where the lease of a file lies."""
    return path.with_name(f".{path.name}{ENDING}")


def holder(path: Path) -> Holder | None:
    """Who works on a file; None where nobody does any more."""
    return _living(lease_file(path))


class Leases:
    """The leases of this process; a context manager that gives all of them back."""

    def __init__(self) -> None:
        self._held: dict[Path, str] = {}
        self._lock, self._end = threading.Lock(), threading.Event()
        self._beats = threading.Thread(target=self._beat, name="leases", daemon=True)

    def __enter__(self) -> Leases:
        self._beats.start()
        return self

    def take(self, path: Path, what: str = "") -> bool:
        """Take the lease of a file; False where a living process holds it, this one included.

        Args:
            path: the file; its folder is made.
            what: is done, for others to compare.
        """
        file, text = lease_file(path), f"{this_process()}\n{what}\n"
        file.parent.mkdir(parents=True, exist_ok=True)
        key, claim = _key(file), object()
        if _HELD.setdefault(key, claim) is not claim:
            return False
        taken = False
        try:
            taken = _create(file, text)
        finally:
            if not taken:
                del _HELD[key]
        if taken:
            with self._lock:
                self._held[file] = text
        return taken

    def give_back(self, path: Path) -> None:
        """End the lease of a file that this process holds."""
        file = lease_file(path)
        with self._lock:
            text = self._held.pop(file)
        try:
            with suppress(FileNotFoundError):
                if file.read_text(encoding="utf-8") == text:
                    file.unlink()
        finally:
            _HELD.pop(_key(file), None)  # last: until then a lease of that text is this one

    def _beat(self) -> None:
        while not self._end.wait(BEAT):
            with self._lock:
                for file in self._held:
                    try:
                        os.utime(file)  # without a time: the file system's own clock
                    except OSError as error:
                        LOG.warning("%s could not be renewed (%s)", file, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._beats.join()
        for file in list(self._held):
            self.give_back(file.with_name(file.name[1 : -len(ENDING)]))


@contextmanager
def alone(path: Path, what: str) -> Iterator[bool]:
    """Hold the lease of a file, after waiting for whoever works on it.

    Args:
        path: the file.
        what: is done to it, for instance the hash of a job.

    Yields:
        whether this process waited for one that did the same.
    """
    same = said = False
    with Leases() as leases:
        while not leases.take(path, what):
            if (other := holder(path)) is not None:
                same = other.what == what
                if not said:
                    LOG.info("waits for %s, which works on %s", other.told, path)
                    said = True
            time.sleep(PAUSE)
        yield same


def sweep_leases(folder: Path) -> None:
    """Remove the leases in a folder whose holders are gone, and what processes that are gone had put aside."""
    for file in folder.glob(f".*{ENDING}"):
        if _living(file) is None:
            _break(file)
    for aside in folder.glob(f".*{ENDING}.*"):
        process = Process.parse(aside.name.rpartition(f"{ENDING}.")[2])
        if process is not None:
            with suppress(FileNotFoundError):
                if _gone(process, aside):
                    aside.unlink()


def _key(file: Path) -> tuple[int, str]:
    return os.getpid(), os.path.realpath(file)


def _create(file: Path, text: str) -> bool:
    """Write a lease that no other thread of this process writes, in place of a dead one; False where one lives."""
    for _ in range(3):
        try:
            with file.open("x", encoding="utf-8") as lease:
                lease.write(text)
        except FileExistsError:
            if _living(file, taken_here=False) is not None:
                return False
            _break(file, taken_here=False)
        else:
            return True
    return False  # others were quicker, three times


def _living(file: Path, taken_here: bool | None = None) -> Holder | None:
    """The living holder of a lease; `taken_here` is whether this process has it, None to look."""
    try:
        name, _, what = file.read_text(encoding="utf-8").partition("\n")
        process = Process.parse(name)
        if process == this_process() and not (_key(file) in _HELD if taken_here is None else taken_here):
            return None
        if _gone(process, file):
            return None
    except FileNotFoundError:
        return None
    return Holder(process, what.removesuffix("\n"))


def _gone(process: Process | None, file: Path) -> bool:
    """Whether who wrote a file is gone, by its signs of life where nothing else can tell."""
    gone = None if process is None else process.gone()
    return age(file) > SILENT if gone is None else gone


def _break(file: Path, taken_here: bool | None = None) -> None:
    """Remove a dead lease, and put back one that somebody took in between."""
    aside = file.with_name(f"{file.name}.{this_process()}")
    try:
        file.rename(aside)
    except FileNotFoundError:
        return
    try:
        if _living(aside, _key(file) in _HELD if taken_here is None else taken_here) is not None:
            with suppress(OSError):  # a third one has it, or there are no hard links: two work on it, which costs time
                os.link(aside, file)
    finally:
        aside.unlink(missing_ok=True)
