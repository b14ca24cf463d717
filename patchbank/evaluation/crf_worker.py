"""One worker of `patchbank.evaluation.crf`: masks and pixels come in on stdin, ids go out on stdout, until stdin ends.

Run as a file of its own, so that it imports nothing but numpy and pydensecrf and starts in a moment. A message is three
int32 (K, H, W), masks (K, H, W) float32 and pixels (H, W, 3) uint8; the answer is ids (H, W) int32.
"""

from __future__ import annotations

import sys
from typing import Any, BinaryIO

import numpy as np

STEPS = 10
SMOOTH = {"sxy": 1, "compat": 3}
ALIKE = {"sxy": 67, "srgb": 3, "compat": 4}
CLIP = 1e-5
"""Smallest probability of a mask."""


def main(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer every message."""
    from pydensecrf.densecrf import DenseCRF2D
    from pydensecrf.utils import unary_from_softmax

    while header := source.read(12):
        k, height, width = np.frombuffer(header, np.int32).tolist()
        masks: Any = np.frombuffer(source.read(4 * k * height * width), np.float32).reshape(k, height, width)
        pixels: Any = np.frombuffer(source.read(3 * height * width), np.uint8).reshape(height, width, 3)
        field = DenseCRF2D(width, height, k)
        field.setUnaryEnergy(unary_from_softmax(masks, clip=CLIP))
        field.addPairwiseGaussian(**SMOOTH)
        field.addPairwiseBilateral(**ALIKE, rgbim=pixels.copy())
        ids = np.asarray(field.inference(STEPS)).argmax(0).astype(np.int32)
        sink.write(ids.tobytes())
        sink.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
