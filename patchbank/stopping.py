"""Ending when the system asks for it: SIGTERM, which Slurm sends before a time limit, a preemption or a drain.

Most work ends at once, wherever it is: nothing half-written is ever visible, and temporary files are removed on the
way out. Work that can keep more of itself does so within `at_the_next`: it goes on to its next batch or step, where it
calls `check`. The process ends with `STATUS`, which is not 0, so that Slurm, or Snakemake's `retries`, runs it again;
it then goes on where it ended.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STATUS = 128 + signal.SIGTERM
"""Exit status, as a shell says it of a process that the signal ended."""
MESSAGE = "Stopped by SIGTERM; what is complete is kept, and the same command goes on from there."


class Stopped(SystemExit):
    """The system asked this process to end."""

    def __init__(self) -> None:
        super().__init__(STATUS)


class _State:
    asked = False
    waiting = 0


def install() -> None:
    """End on SIGTERM as this module says; does nothing outside the main thread, where signals cannot be handled."""
    if threading.current_thread() is threading.main_thread():
        _State.asked = False
        signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> None:
    _State.asked = True
    if not _State.waiting:
        raise Stopped


def asked() -> bool:
    """Whether this process has been asked to end."""
    return _State.asked


def check() -> None:
    """Raise `Stopped` where this process has been asked to end."""
    if _State.asked:
        raise Stopped


@contextmanager
def at_the_next() -> Iterator[None]:
    """Within, the signal does not interrupt; the work calls `check` where it can end."""
    _State.waiting += 1
    try:
        yield
    finally:
        _State.waiting -= 1
    check()
