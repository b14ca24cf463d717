"""How many CPU threads a stage uses: the smaller of what it was given and what the process may run on."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available() -> int:
    """Number of CPUs in the affinity mask of this process."""
    return len(os.sched_getaffinity(0))


def helpers(most: int, threads: int | None = None) -> int:
    """How many workers read, decode or write beside the thread that computes: one CPU fewer than there are, 1 at least.

    Args:
        most: of which more would not help.
        threads: CPUs given to this work; by default all that are available.
    """
    return max(1, min(most, (threads or available()) - 1))


def limit(requested: int | None = None) -> int:
    """Use at most `requested` threads (default: all that are available) from here on; return the number.

    Call it before torch and faiss are imported, which read how to wait once; where they, numpy or scipy are there
    already, they are told the number. Equal bits are promised at equal thread counts only, so the number belongs into
    the record of a result.
    """
    count = min(requested or available(), available())
    for name in VARIABLES:
        os.environ[name] = str(count)
    # waiting threads sleep instead of spinning: costs nothing alone, and a shared machine is not held up by barriers
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    if "faiss" in sys.modules:
        sys.modules["faiss"].omp_set_num_threads(count)
    if "numpy" in sys.modules and find_spec("threadpoolctl"):  # a machine for tests on a GPU may lack it
        import threadpoolctl

        threadpoolctl.threadpool_limits(count, user_api="blas")
    return count
