"""When the student becomes the teacher, and how much the negative target weighs since then.

Epochs count from 0. At the START of an epoch >= `start` that is a multiple of the interval, the student becomes the
teacher and restarts from its initial values; the optimiser's moments stay. The interval may be a list by tens of
epochs, whose last entry stays. A restart with fewer than `interval` epochs left would report a student that has just
begun, so it is left out, unless `restart_at_end` asks for the published code's behaviour (which hid it by choosing its
checkpoint on labels).

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""

from __future__ import annotations

from collections.abc import Sequence

ALPHA = (0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.1)
"""Weight of the negative target by epochs since the last restart; the last value stays."""


def alpha_of(age: int) -> float:
    """Weight of the negative target `age` epochs after a restart."""
    return ALPHA[min(age, len(ALPHA) - 1)]


def interval_of(intervals: Sequence[int], epoch: int) -> int:
    """Epochs between restarts that holds in `epoch`."""
    return intervals[min(epoch // 10, len(intervals) - 1)]


def restarts(epochs: int, start: int, intervals: Sequence[int], restart_at_end: bool = False) -> list[int]:
    """Epochs at whose start the student becomes the teacher, ascending."""
    chosen = []
    for epoch in range(start, epochs):
        interval = interval_of(intervals, epoch)
        if epoch % interval == 0 and (restart_at_end or epochs - epoch >= interval):
            chosen.append(epoch)
    return chosen


def age_of(epoch: int, restarted: Sequence[int]) -> int | None:
    """Epochs since the last restart at or before `epoch`; None where there is no teacher yet."""
    before = [other for other in restarted if other <= epoch]
    return epoch - before[-1] if before else None
