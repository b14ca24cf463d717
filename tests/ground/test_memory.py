"""What the C library does with freed memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from patchbank.memory import keep, release
if sys.argv[1] == "keep":
    keep()
library, size = ctypes.CDLL(None), 64 << 20
library.malloc.restype = ctypes.c_void_p
def filled():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    room = ctypes.c_void_p(library.malloc(ctypes.c_size_t(size)))
    library.memset(room, 1, ctypes.c_size_t(size))
    library.free(room)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(filled(), filled())
release()
print(filled())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library cannot be told (not glibc)")
@pytest.mark.parametrize("kept", [False, True])
def test_a_large_array_is_cleared_once_and_given_back_when_asked(kept: bool) -> None:
    """Its 16,384 pages of 4 KB cost a fault each, where they do not come in larger ones."""
    command = [sys.executable, "-c", FAULTS, "keep" if kept else "leave"]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    first, second, released = map(int, said.split())
    assert (second < first / 2) == kept
    assert released > first / 2
