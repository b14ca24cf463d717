"""Giving freed memory back to the system between pieces of long work."""

from __future__ import annotations

import ctypes


def release() -> None:
    """Return the free part of the heap to the system, where the C library can (glibc).

    Batches of large arrays leave a heap that grows slowly with the number of batches; trimming it once a shard keeps
    the memory of a long extraction where it was at the start.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
