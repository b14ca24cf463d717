"""Keeping freed memory for the next batch, giving it back between pieces of long work, and what a GPU has left."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


KEPT = 1 << 30
"""Bytes: arrays up to that size come from memory that is kept, so much of it at most behind the last one in use."""
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # of mallopt(3)


def keep() -> None:
    """Let the C library keep freed memory for this process, where it can (glibc).

    By default it gives arrays of more than 32 MB back as soon as they are freed; a batch has several of that size, and
    the kernel clears all their pages again for the next one, which takes up to a third of a training's time.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(_MMAP_THRESHOLD, KEPT)
        tune(_TRIM_THRESHOLD, KEPT)


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
