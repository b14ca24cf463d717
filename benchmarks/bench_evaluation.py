"""Time and memory of all protocols, of floors and of comparisons, from stored predictions.

    python benchmarks/bench_evaluation.py [--images 5000] [--clusters 500] [--classes 171] [--preprocessing full]

Masks are 640x480 Voronoi pictures of a few classes, stored as PNG; predictions are random cells on a 32x32 grid, of a
method that predicts classes (K = classes and K = `--clusters`) and of methods and floors that predict segments (5, 5
and 1) with a table of segment clusters at the same numbers. Counted and scored as the pipeline does it, one k-means
seed; peak memory is RssAnon + RssShmem of the stage's own process.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from bench_memory import peak_of
from PIL import Image
from timing import as_a_stage, machine

PROTOCOLS = ("per_image", "per_image_hungarian", "hungarian", "hungarian_iou", "overcluster")
ROWS = {"kmeans": None, "alignseg": 5, "voronoi-5": 5, "single": 1}
"""Rows and their segments an image; None predicts classes."""


def cells(rng: np.random.Generator, shape: tuple[int, int], count: int, ids: np.ndarray) -> np.ndarray:
    """Random Voronoi cells (h, w) with the given ids."""
    points = rng.random((count, 2)) * shape
    y, x = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    return ids[((y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2).argmin(-1)]


def make(folder: Path, images: int, clusters: int, classes: int) -> None:
    """Masks (a hundred different ones, each its own file), manifest and predictions."""
    from patchbank.datasets import Entry, Manifest
    from patchbank.files import write_npz
    from patchbank.predictions import PredictionRecord, PredictionWriter

    rng = np.random.default_rng(0)
    patterns = [
        cells(rng, (480, 640), 8, rng.integers(0, classes, 8)).astype(np.uint8) for _ in range(min(200, images))
    ]
    entries = []
    for i in range(images):
        Image.fromarray(patterns[i % len(patterns)]).save(folder / f"{i}.png")
        entries.append(Entry(f"{i:016x}", f"{i}.jpg", f"{i}.png", None, 640, 480))
    names, colours = tuple(f"c{i}" for i in range(classes)), ((0, 0, 0),) * classes
    lut = [value if value < classes else 255 for value in range(256)]
    Manifest("toy", folder, names, colours, lut, {"train": (), "val": tuple(entries)}).save(folder / "manifest.json")
    ids = [entry.id for entry in entries]
    for row, segments in ROWS.items():
        kind = "segments" if segments else "classes"
        record = PredictionRecord("toy", "val", row, kind, 0, "nearest", (448, 448))
        numbers = {f"k{k}-s0": k for k in (classes, clusters)}
        variants = {"segments": segments} if segments else numbers
        with PredictionWriter(folder / f"{row}.h5", record, ids, variants, (32, 32)) as writer:
            for i in range(images):
                for name, k in variants.items():
                    writer.write_labels(name, i, cells(rng, (32, 32), 8, rng.integers(0, k, 8))[None])
        if segments:
            tables = {name: rng.integers(0, k, (images, segments)).astype(np.int32) for name, k in numbers.items()}
            sizes = np.array(list(numbers.values()), np.int32)
            write_npz(folder / f"{row}.tables.npz", {**tables, "tables": np.array(list(tables)), "k_used": sizes})


def context(folder: Path, row: str, preprocessing: str) -> object:
    """What the score stage is told of a row."""
    from patchbank.datasets import Manifest
    from patchbank.evaluation.score import ScoreContext

    classes = Manifest.load(folder / "manifest.json").classes
    kind = "segments" if ROWS[row] else "classes"
    floor = row in ("voronoi-5", "single")
    return ScoreContext("toy", row, kind, classes, preprocessing, "train", {}, floor, False, None, PROTOCOLS)


def tables_of(folder: Path, row: str) -> Mapping[int, Path] | None:
    """The row's segment clusters."""
    return {0: folder / f"{row}.tables.npz"} if ROWS[row] else None


def count(folder: Path, row: str, preprocessing: str) -> None:
    """Stage `count`."""
    from patchbank.datasets import Manifest
    from patchbank.evaluation.count import count_predictions

    manifest = Manifest.load(folder / "manifest.json")
    count_predictions(folder / f"{row}.h5", manifest, folder / f"{row}.npz", preprocessing)


def score(folder: Path, row: str, preprocessing: str) -> None:
    """Stage `score`, all protocols."""
    from patchbank.evaluation.score import score_method

    score_method({0: folder / f"{row}.npz"}, tables_of(folder, row), context(folder, row, preprocessing))


def compare(folder: Path, row: str, preprocessing: str) -> None:
    """Stage `compare`, all rows, 10,000 resamples."""
    from patchbank.evaluation.compare import Compared, compare_methods

    rows = [
        Compared(context(folder, name, preprocessing), {0: folder / f"{name}.npz"}, tables_of(folder, name))
        for name in ROWS
    ]
    compare_methods(rows)


def main() -> None:
    """Print seconds and peak MB of each stage."""
    as_a_stage(keeps=False)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--clusters", type=int, default=500)
    parser.add_argument("--classes", type=int, default=171)
    parser.add_argument("--preprocessing", default="squash_448_100")
    parser.add_argument("--no-compare", action="store_true", help="leave the comparisons out")
    options = parser.parse_args()
    print(machine())
    print(f"{options.images} images, {options.classes} classes, {options.clusters} clusters, {options.preprocessing}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.images, options.clusters, options.classes)
        seconds, peaks = [], []
        for row in ROWS:
            for stage in (count, score):
                peak, took = peak_of(stage, folder, row, options.preprocessing)
                seconds.append(took)
                peaks.append(peak)
                print(f"{stage.__name__ + ' ' + row:<20}{took:>8.1f} s{peak:>8.0f} MB", flush=True)
        print(f"{'all of these':<20}{sum(seconds):>8.1f} s{max(peaks):>8.0f} MB")
        if not options.no_compare:
            peak, took = peak_of(compare, folder, "", options.preprocessing)
            print(f"{'compare':<20}{took:>8.1f} s{peak:>8.0f} MB")


if __name__ == "__main__":
    main()
