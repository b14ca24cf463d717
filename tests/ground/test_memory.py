"""What the C library does with freed memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from patchbank import memory
library, size = ctypes.CDLL(None), 64 << 20
library.malloc.restype = ctypes.c_void_p
def filled():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    room = ctypes.c_void_p(library.malloc(ctypes.c_size_t(size)))
    library.memset(room, 1, ctypes.c_size_t(size))
    library.free(room)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
filled()
print(filled(), int(memory.keep()), filled(), filled())
memory.release()
print(filled(), int(memory.keep_no_more()), filled(), filled())
"""


def test_large_arrays_are_cleared_once_and_given_back_when_asked() -> None:
    """An array's 16,384 pages of 4 KB cost a fault each, where they do not come in larger ones."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    environment = {**plain, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    left, kept, first, second, released, no_more, _, returned = map(int, said.stdout.split())
    if not kept:
        pytest.skip("the C library keeps no memory (not glibc, or an old one)")
    assert left > 10
    assert first > left / 2
    assert second < left / 2
    assert released > left / 2
    assert no_more == 1
    assert returned > left / 2
