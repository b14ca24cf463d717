"""A set of masks of several sizes and predictions for it, to be counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from patchbank.datasets import Entry, Manifest
from patchbank.predictions import PredictionRecord, PredictionWriter

CLASSES, GRID = 3, (6, 7)


def make_set(root: Path, n: int, masks: bool = True) -> Manifest:
    """`n` masks of several sizes with raw values 0..2 and 9 (ignored), and instance maps."""
    entries = []
    for i in range(n):
        rng = np.random.default_rng(i)
        shape = (20 + 3 * i, 30 + 2 * i)
        Image.fromarray(rng.choice(np.array([0, 1, 2, 9], np.uint8), shape)).save(root / f"{i}.png")
        Image.fromarray(rng.integers(0, 4, shape).astype(np.uint8)).save(root / f"{i}i.png")
        name = f"{i}.png" if masks else None
        entries.append(Entry(f"{i:016x}", f"{i}.jpg", name, f"{i}i.png" if masks else None, shape[1], shape[0]))
    lut = [255 if value == 9 else value if value < CLASSES else -1 for value in range(256)]
    colours = ((0, 0, 0), (1, 1, 1), (2, 2, 2))
    return Manifest("toy", root, ("a", "b", "c"), colours, lut, {"train": (), "val": tuple(entries)})


def write_predictions(path: Path, manifest: Manifest, variants: dict[str, int], upsample: str) -> dict[str, np.ndarray]:
    images = [entry.id for entry in manifest.entries("val")]
    record = PredictionRecord("toy", "val", "random", "classes", 0, upsample, (448, 448))
    scores = {
        name: np.random.default_rng(k).normal(size=(len(images), k, *GRID)).astype(np.float32)
        for name, k in variants.items()
    }
    with PredictionWriter(path, record, images, variants, GRID) as writer:
        for name, values in scores.items():
            writer.write_scores(name, 0, values)
    return scores
