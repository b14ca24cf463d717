"""Counts and segment clusters of made-up trainings, as the score stage reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pixel_counts import make_counts

from patchbank.evaluation.counts import Counts, save_counts
from patchbank.evaluation.score import ScoreContext

C, Q = 3, 5


CONTEXT = ScoreContext(
    dataset="toy",
    method="alignseg",
    kind="segments",
    classes=("a", "b", "c"),
    preprocessing="full",
    fit="train",
    settings={"centre": "mean"},
    floor=False,
    ceiling=False,
    oracle=None,
    protocols=("per_image", "hungarian", "hungarian_iou", "overcluster", "per_image_hungarian", "objects"),
)


def random_counts(seed: int, k: int) -> Counts:
    rng = np.random.default_rng(seed)
    return make_counts([(rng.integers(0, k, 200), rng.choice([0, 1, 2, 255], 200)) for _ in range(6)], k, C)


def write_segments(folder: Path, trainings: tuple[int, ...], points: bool = True) -> tuple[Any, Any, Any]:
    """Counts and tables of some trainings, asked K 3 and 8 (used 6), k-means seeds 0, 1, 10."""
    counts, tables, plain = {}, {}, {}
    for training in trainings:
        own = random_counts(training, Q)
        counts[training] = folder / f"c{training}.npz"
        save_counts(counts[training], {"segments": own})
        names = [f"k{k}-s{s}" for k in (8, 3) for s in (10, 0, 1)]
        used = [6 if name.startswith("k8") else 3 for name in names]
        rng = np.random.default_rng(100 + training)
        arrays = {name: rng.integers(0, k, (6, Q)).astype(np.int32) for name, k in zip(names, used, strict=True)}
        plain[training] = (own, {n: (arrays[n], k) for n, k in zip(names, used, strict=True)})
        extra = {"points": np.full(len(names), 25, np.int64)} if points else {}
        tables[training] = folder / f"t{training}.npz"
        np.savez(tables[training], tables=np.array(names), k_used=np.array(used, np.int32), **arrays, **extra)
    return counts, tables, plain
