"""Keeping freed memory for the next batch, giving it back between pieces of long work, and what a GPU has left."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


KEPT, LARGE = 1 << 30, 32 << 20
"""Bytes: arrays up to the first come from memory that is kept; by default those above the second never do."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)


def keep() -> bool:
    """Let the C library keep freed memory for this process; whether it does (glibc; older ones refuse).

    By default it gives arrays of more than `LARGE` back as soon as they are freed. A batch has several of that size,
    and the kernel clears all their pages again for the next one, which takes up to a third of a training's time. For
    processes that work on one batch after the other, whose memory is what the largest takes; arrays of other threads
    than the main one are given back all the same.
    """
    return _tuned(KEPT)


def keep_no_more() -> bool:
    """Give large arrays back as soon as they are freed, in a process forked from one that keeps memory."""
    return _tuned(LARGE)


def _tuned(limit: int) -> bool:
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    # one refusal is enough: a limit alone would switch off that the library finds better ones by itself
    return tune is not None and bool(tune(_MMAP_THRESHOLD, limit)) and bool(tune(_TRIM_THRESHOLD, limit))


def release() -> None:
    """Return the free part of the heap to the system, where the C library can (glibc).

    Batches of large arrays leave a heap that grows slowly with the number of batches; trimming it once a shard keeps
    the memory of a long extraction where it was at the start.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def free_on(device: torch.device) -> int:
    """Bytes that new tensors may take on a GPU: what nobody has, and what torch keeps of freed tensors."""
    import torch  # slow, and what only releases memory does without

    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept
