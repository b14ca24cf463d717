"""Dense CRF in worker processes with a time limit for every image.

The library (`pydensecrf2`; Krähenbühl & Koltun 2011, https://arxiv.org/abs/1210.5644) is C++ that nothing can stop: a
thread that hangs in it hangs for good, a process can be ended. Weights and widths are those that the field took over
from DeepLab v2 (10 steps; smoothness 3 within 1 pixel; likeness 4 within 67 pixels and 3 grey levels).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from queue import Empty, SimpleQueue
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from patchbank.left_out import CannotBeMade
from patchbank.refinement import crf_worker

LIMIT = 60.0
"""Seconds for one image; one of 448x448 with five ids takes about one."""
CERTAIN = 0.7
"""How sure a patch is of its own label, the library's default for labels without scores; the others share the rest."""
NEEDS = "needs pydensecrf2: pip install 'patchbank[crf]' (it needs a C++ compiler), or choose pamr"
INSTALL = f"the dense CRF {NEEDS}"
"""What is said where the library is not there."""


class TookTooLong(Exception):
    """The CRF of an image was stopped at the time limit."""


def installed() -> bool:
    """Whether the library is there."""
    return find_spec("pydensecrf") is not None


def version() -> str:
    """Package and version that the library comes from, which shape what it returns; "" where it is not there."""
    from importlib import metadata  # here: configurations ask only whether it is there

    names = metadata.packages_distributions().get("pydensecrf", [])
    return ", ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))


class DenseCRF:
    """Worker processes, as many as threads ask at a time.

    Args:
        limit: seconds for one image.
        command: of a worker, without the limit that it gets as its argument.
    """

    def __init__(self, limit: float = LIMIT, command: Sequence[str] = ()) -> None:
        self.limit = limit
        self._command = [*(command or (sys.executable, str(crf_worker.__file__))), str(limit)]
        self._idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()

    def __enter__(self) -> DenseCRF:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while (worker := self._take()) is not None:
            worker.communicate()

    def __call__(self, masks: NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Refine the masks of an image.

        Args:
            masks: (K, H, W) probabilities, sum 1 over K.
            pixels: (H, W, 3), RGB.

        Returns:
            (H, W) index of the mask that wins.

        Raises:
            TookTooLong: at the time limit.
            CannotBeMade: a worker ended by itself.
        """
        if len(masks) == 1:
            return np.zeros(masks.shape[1:], np.int64)
        worker = self._take() or self._start()
        assert worker.stdin is not None
        assert worker.stdout is not None
        header, size = np.array(masks.shape, np.int32), 4 * masks[0].size
        try:
            worker.stdin.write(header.tobytes() + masks.astype(np.float32).tobytes() + pixels.tobytes())
            worker.stdin.flush()
            answer = worker.stdout.read(size)
        except BrokenPipeError:
            answer = b""
        if len(answer) == size:
            self._idle.put(worker)
            return np.frombuffer(answer, np.int32).reshape(masks.shape[1:]).astype(np.int64)
        _, said = worker.communicate()
        if worker.returncode == -signal.SIGALRM:
            raise TookTooLong
        reason = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise CannotBeMade(f"the dense CRF ended with code {worker.returncode} ({reason[-1]}); it {NEEDS}.")

    def of_labels(self, masks: NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The same for masks that come of labels without scores: a patch is sure of its label to `CERTAIN`."""
        others = max(1, len(masks) - 1)
        return self(CERTAIN * masks + (1 - CERTAIN) / others * (1 - masks), pixels)

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=pipe)

    def _take(self) -> subprocess.Popen[bytes] | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None
