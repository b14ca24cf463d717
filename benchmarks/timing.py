"""What all benchmarks share: paired repetitions, medians, and a line about the machine."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from patchbank import memory, threads


def as_a_stage(keeps: bool = True) -> None:
    """Start this benchmark again with the settings of the pipeline's stages for threads and memory; call it first.

    The number of threads and how they wait are read once, when torch and faiss are imported.

    Args:
        keeps: whether the stages are extraction or training, which keep freed memory.
    """
    if keeps:
        memory.keep()
    if "OMP_WAIT_POLICY" not in os.environ:
        threads.limit(int(os.environ["OMP_NUM_THREADS"]) if "OMP_NUM_THREADS" in os.environ else None)
        os.execv(sys.executable, [sys.executable, *sys.argv])


def machine() -> str:
    """Processor, CPUs that may be used, Python and torch."""
    import torch

    info = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    cuda = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return (
        f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} CPUs{cuda}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def paired(functions: Sequence[Callable[[], object]], repetitions: int, warmup: int = 1) -> list[list[float]]:
    """Seconds of each function, called in turn A B A B ..., after `warmup` rounds that are not counted."""
    for _ in range(warmup):
        for function in functions:
            function()
    rounds = [[timed(function) for function in functions] for _ in range(repetitions)]
    return [list(column) for column in zip(*rounds, strict=True)]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """``median (min-max)``."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
