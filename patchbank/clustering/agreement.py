"""How far two divisions of the same points agree, whatever their clusters are called.

Source: Hubert & Arabie, Comparing partitions (1985), https://doi.org/10.1007/BF01908075.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray


def adjusted_rand(together: NDArray[np.int64]) -> float:
    """Adjusted Rand index of two partitions from their common members (K, C), with pairs n (n - 1).

    1 where the denominator is not positive (AlignSeg's evaluation code, see protocol `objects`).
    """

    def pairs(sizes: NDArray[np.int64]) -> float:
        return float((sizes.astype(np.float64) * (sizes - 1)).sum())  # int64 overflows in the product below

    both, left, right, total = pairs(together), pairs(together.sum(1)), pairs(together.sum(0)), pairs(together.sum())
    chance = left * right / total if total else 0.0
    span = (left + right) / 2 - chance
    return (both - chance) / span if span > 0 else 1.0


def agreement(labels: Sequence[NDArray[np.integer[Any]]]) -> float | None:
    """Mean adjusted Rand index of all pairs of labellings (n,) of the same points; None where there is no pair."""
    indices = []
    for a, b in combinations(labels, 2):
        together = np.zeros((int(a.max()) + 1, int(b.max()) + 1), np.int64)
        np.add.at(together, (a, b), 1)
        indices.append(adjusted_rand(together))
    return float(np.mean(indices)) if indices else None
