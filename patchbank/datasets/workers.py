"""Work on many small files in processes, results in order, memory bounded.

Processes are started with `spawn` and get chunks of tasks, of which a bounded number is in flight. They do not import
the calling script, so that it needs no `__main__` guard.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from types import ModuleType
from typing import TypeVar

from patchbank.errors import UserError

CHUNK = 32
"""Tasks that are passed together: enough that passing costs nothing, few enough that workers finish together."""
FEW = 256
"""At most this many tasks are done in this process; starting workers would take longer."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """``function(task)`` of each task, in the order of `tasks`; `function` and all values must be picklable."""
    if workers <= 1 or len(tasks) <= FEW:
        yield from map(function, tasks)
        return
    chunks = iter([tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)])
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[list[Result]]] = deque()
        try:
            while True:
                with _without_main():
                    for chunk in islice(chunks, 2 * workers - len(waiting)):
                        waiting.append(pool.submit(_do, function, chunk))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                "A process that decodes images was killed, most likely for want of memory; run again with fewer cores."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _do(function: Callable[[Task], Result], chunk: Sequence[Task]) -> list[Result]:
    return [function(task) for task in chunk]


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes spawned within do not import the calling script again.

    They need nothing of it, and a script without a guard (Snakemake's are) would start its whole work once more.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
