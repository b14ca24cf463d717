"""Giving freed memory back to the system between pieces of long work, and what a GPU has left."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
