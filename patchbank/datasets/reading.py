"""Files as bytes: read whole or in parts, and why one is not."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from patchbank.datasets.unusable import Unusable

MAX_BYTES = 1 << 30
"""Largest file that is read whole: no picture comes near, and a sparse or wrong file must not fill the memory."""
A_FOLDER = "is a folder, not a file"
NO_FILE = "is a pipe, socket or device, not a file"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file of which only parts are read; `Unusable` where it cannot be."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise Unusable(why_not_read(path, error)) from None


@contextmanager
def opened_at_once(path: str | Path) -> Iterator[tuple[IO[bytes], os.stat_result]]:
    """A file and its state; a pipe is opened without waiting for its other end.

    The state is asked of the open file, not of its name: on a network file system that would be a request more.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        yield file, os.fstat(file.fileno())


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_bytes(path: str | Path) -> bytes:
    """All bytes of a file; `Unusable` when it is missing, empty, no regular file or may not be read."""
    try:
        with opened_at_once(path) as (file, state):
            check_state(state)
            return file.read()
    except (OSError, ValueError) as error:
        raise Unusable(why_not_read(path, error)) from None


def check_state(state: os.stat_result) -> None:
    """`Unusable` for what must not be opened: a pipe would hang, a device or a huge file would never end."""
    if stat.S_ISDIR(state.st_mode):
        raise Unusable(A_FOLDER)
    if not stat.S_ISREG(state.st_mode):
        raise Unusable(NO_FILE)
    if state.st_size == 0:
        raise Unusable("has zero bytes")
    if state.st_size > MAX_BYTES:
        raise Unusable(f"has {state.st_size:,} bytes; at most {MAX_BYTES:,} are read")


def why_not_read(path: str | Path, error: OSError | ValueError) -> str:
    """The reason, without the file's name, why `path` cannot be read (ValueError: no file can have that name)."""
    if isinstance(error, IsADirectoryError):
        return A_FOLDER
    if isinstance(error, OSError) and error.errno == errno.ENXIO:  # a socket
        return NO_FILE
    if isinstance(error, FileNotFoundError):
        return "is a link to a missing file" if Path(path).is_symlink() else "does not exist"
    return f"cannot be read ({getattr(error, 'strerror', None) or error})"


def stream_hash(path: Path, before: bytes = b"") -> str:
    """SHA-256 over `before` and all bytes of a file, which are never all in memory; 64 hexadecimal digits."""
    digest = hashlib.sha256(before)
    with opened(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
