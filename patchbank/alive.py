"""Which process a file under work belongs to, and whether that process is alive, also seen from another host.

A process is named by its host, by its system (this boot, these process ids: a container numbers its own), by its id and
by its start, so that a process that got the id of a dead one is told apart. On the same system the kernel knows whether
it lives. Of another host, whose locks a network file system may not show, only a sign of life can be seen: the time of
a file that the process touches (`patchbank.leases`), by the clock of the file system.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SILENT = 120.0
"""Seconds without a sign of life after which a process of another system counts as gone."""
MARK = "~"
"""Between the parts of a process's name, which is a part of file names."""


@dataclass(frozen=True)
class Process:
    """A process, on whatever host.

    Attributes:
        host: name of the host, its first 30 characters.
        system: 8 hexadecimal digits of the host's boot and the namespace of its process ids; empty where not known.
        pid: its id there.
        start: when it started, in the kernel's ticks since the boot.
    """

    host: str
    system: str
    pid: int
    start: int

    def __str__(self) -> str:
        return MARK.join((self.host, self.system, str(self.pid), str(self.start)))

    @property
    def told(self) -> str:
        """For people."""
        return f"process {self.pid} on {self.host}"

    @classmethod
    def parse(cls, text: str) -> Process | None:
        """The process of a name; None for what is none."""
        parts = text.split(MARK)
        if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def gone(self) -> bool | None:
        """Whether it has ended; None where only its signs of life can tell, because its system is another one."""
        if not self.system or self.system != _system():
            return None
        try:
            return _start(self.pid) != self.start
        except OSError:  # there is none, or /proc hides it (hidepid), as it does those of other users
            return _unseen(self.pid)


def this_process() -> Process:
    """The process that asks; a child after a fork is another one."""
    return _process(os.getpid())


def age(path: Path) -> float:
    """Seconds since a file was touched, by the clock of its file system: hosts need not agree on the time.

    Raises:
        FileNotFoundError: it is gone.
    """
    touched = path.stat().st_mtime
    return clock(path.parent) - touched


def clock(folder: Path) -> float:
    """Seconds since the epoch, as the file system of a folder counts them; a file appears there for a moment."""
    with tempfile.NamedTemporaryFile(prefix=".clock.", dir=folder) as probe:
        return Path(probe.name).stat().st_mtime


@cache
def _process(pid: int) -> Process:
    host = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in socket.gethostname())
    start = None
    with suppress(OSError):  # a system without /proc
        start = _start(pid)
    return Process(host[:30], _system(), pid, start or 0)


@cache
def _system() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        numbers = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {numbers}".encode()).hexdigest()[:8]


def _start(pid: int) -> int | None:
    """When the process of that id started, None where only what is left of a dead one is there; OSError: not seen."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    state, *fields = text[text.rindex(")") + 2 :].split()  # the name before it may hold anything
    return None if state in "ZX" else int(fields[18])


def _unseen(pid: int) -> bool | None:
    """Whether there is no process of an id that /proc does not show; None where there is one."""
    try:
        os.kill(pid, 0)  # asks, and sends nothing
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # somebody else's
    return None
