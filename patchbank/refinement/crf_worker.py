"""One worker of `patchbank.refinement.crf`: masks and pixels come in on stdin, ids go out on stdout, until stdin ends.

Run as a file of its own, so that it imports nothing but numpy and pydensecrf and starts in a moment. A message is three
int32 (K, H, W), masks (K, H, W) float32 with sum 1 over K, and pixels (H, W, 3) uint8; the answer is the index (H, W)
int32 of the mask that wins. The argument is the time limit of a message in seconds; SIGALRM ends the process anywhere.
"""

from __future__ import annotations

import signal
import sys
from typing import Any, BinaryIO

import numpy as np

STEPS = 10
SMOOTH = {"sxy": 1, "compat": 3}
ALIKE = {"sxy": 67, "srgb": 3, "compat": 4}


def main(source: BinaryIO, sink: BinaryIO, limit: float) -> None:
    """Answer every message."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    while header := source.read(12):
        signal.setitimer(signal.ITIMER_REAL, limit)
        k, height, width = np.frombuffer(header, np.int32).tolist()
        masks: Any = np.frombuffer(source.read(4 * k * height * width), np.float32).reshape(k, height, width)
        pixels: Any = np.frombuffer(source.read(3 * height * width), np.uint8).reshape(height, width, 3)
        field = DenseCRF2D(width, height, k)
        field.setUnaryEnergy(unary_from_softmax(masks))
        field.addPairwiseGaussian(**SMOOTH)
        field.addPairwiseBilateral(**ALIKE, rgbim=pixels.copy())
        ids = np.asarray(field.inference(STEPS)).argmax(0).astype(np.int32)
        signal.setitimer(signal.ITIMER_REAL, 0)
        sink.write(ids.tobytes())
        sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer, float(sys.argv[1]))
