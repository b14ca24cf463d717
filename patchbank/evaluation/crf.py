"""Dense CRF in worker processes with a time limit for every image.

The library (`pydensecrf2`; Krähenbühl & Koltun 2011, https://arxiv.org/abs/1210.5644) is C++ that nothing can stop: a
thread that hangs in it hangs for good, a process can be killed. Weights and widths are those that the field took over
from DeepLab v2 (10 steps; smoothness 3 within 1 pixel; likeness 4 within 67 pixels and 3 grey levels).
"""

from __future__ import annotations

import logging
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Timer
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import UserError

LOG = logging.getLogger(__name__)
LIMIT = 60.0
"""Seconds for one image; a picture of 448x448 with ten ids takes one or two."""
INSTALL = (
    "post-processing `crf` needs pydensecrf2: pip install 'patchbank[crf]' (it needs a C++ compiler), or choose pamr"
)


def installed() -> bool:
    """Whether the library is there."""
    return find_spec("pydensecrf") is not None


class DenseCRF:
    """Worker processes, as many as threads ask at a time.

    Args:
        limit: seconds for one image.
        command: of a worker.

    Attributes:
        late: images that took longer and were left as they were.
    """

    def __init__(self, limit: float = LIMIT, command: tuple[str, ...] = ()) -> None:
        self.limit, self.late = limit, 0
        self._command = command or (sys.executable, str(Path(__file__).with_name("crf_worker.py")))
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
            masks: (K, H, W), sum 1 over K.
            pixels: (H, W, 3), RGB.

        Returns:
            (H, W) index of the mask that wins; without the CRF where it took longer than the limit.

        Raises:
            UserError: a worker ended by itself.
        """
        if len(masks) == 1:
            return np.zeros(masks.shape[1:], np.int64)
        worker = self._take() or subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert worker.stdin is not None
        assert worker.stdout is not None
        timer = Timer(self.limit, worker.kill)
        timer.start()
        try:
            header = np.array(masks.shape, np.int32)
            worker.stdin.write(header.tobytes() + masks.astype(np.float32).tobytes() + pixels.tobytes())
            worker.stdin.flush()
            answer = worker.stdout.read(4 * masks[0].size)
        except BrokenPipeError:
            answer = b""
        finally:
            timer.cancel()
        if len(answer) == 4 * masks[0].size:
            self._idle.put(worker)
            return np.frombuffer(answer, np.int32).reshape(masks.shape[1:]).astype(np.int64)
        worker.communicate()
        if worker.returncode != -9:
            raise UserError(f"The dense CRF ended with code {worker.returncode}; its message stands above. {INSTALL}.")
        self.late += 1
        LOG.warning("an image took longer than %.0f s in the dense CRF; it is counted without", self.limit)
        plain: NDArray[np.int64] = masks.argmax(0)
        return plain

    def _take(self) -> subprocess.Popen[bytes] | None:
        try:
            return self._idle.get_nowait()
        except Empty:
            return None
