"""Time of protocol `overcluster` after counting, and of the old way on a small size.

Random predictions on a patch grid and random labels are compared at 100x100 (`squash_448_100`) and counted; then
both variants of the protocol (precision, IoU) are scored from the sparse counts, repeatedly. Random pictures are the
worst case: nearly every pixel of an image is a (segment, class) pair of its own.

The old way makes one pass over all pixels for every (cluster, class) pair. It is timed on a few images and a few
clusters, and EXTRAPOLATED in proportion to pixels x pairs; nobody waits for the real thing.

    python benchmarks/bench_overcluster.py --images 1449 --clusters 500 --classes 21
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
from timing import as_a_stage

from patchbank.evaluation import protocols
from patchbank.evaluation.counts import Counts, count_image
from patchbank.evaluation.preprocessing import frame
from patchbank.seeds import generator
from patchbank.threads import available

SIDE = 100


def random_image(index: int, clusters: int, classes: int, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicted ids and labels, both (100, 100)."""
    rng = generator("bench_overcluster", index)
    view = frame("squash_448_100", (SIDE, SIDE), (448, 448))
    return view.segments(rng.integers(0, clusters, (grid, grid)), "nearest"), rng.integers(0, classes, (SIDE, SIDE))


def count(images: int, clusters: int, classes: int, grid: int) -> tuple[Counts, float]:
    """Counts of random images, and the seconds that counting took."""
    seconds, triples = 0.0, []
    for index in range(images):
        segments, labels = random_image(index, clusters, classes, grid)
        start = perf_counter()
        triples.append(count_image(segments, labels, clusters, classes))
        seconds += perf_counter() - start
    segment, klass, pixels = (np.concatenate(parts) for parts in zip(*triples, strict=True))
    image = np.repeat(np.arange(images, dtype=np.int32), [len(triple[0]) for triple in triples])
    names = tuple(f"{index:016x}" for index in range(images))
    counts = Counts(
        names, image, segment.astype(np.int32), klass.astype(np.int32), pixels, clusters, classes, "squash_448_100"
    )
    return counts, seconds


def old_way(images: int, clusters: int, classes: int, grid: int) -> float:
    """Mean over classes of the best-precision IoU with one pass over all pixels per pair."""
    pairs = [random_image(index, clusters, classes, grid) for index in range(images)]
    predicted, truth = (np.concatenate([part.ravel() for part in side]) for side in zip(*pairs, strict=True))
    precision = np.zeros((clusters, classes))
    for k in range(clusters):
        for c in range(classes):
            hit = np.sum((predicted == k) & (truth == c))
            precision[k, c] = hit / max(float(hit + np.sum((predicted == k) & (truth != c))), 1e-8)
    given = precision.argmax(1)[predicted]
    return float(
        np.mean([np.mean((given == c) & (truth == c)) / np.mean((given == c) | (truth == c)) for c in range(classes)])
    )


def repeat(work: Callable[[], object], times: int) -> list[float]:
    """Seconds of each of `times` runs."""
    seconds = []
    for _ in range(times):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return seconds


def line(what: str, seconds: list[float]) -> str:
    return f"{what:<44}{median(seconds):>11.4f}{min(seconds):>11.4f}{max(seconds):>11.4f}"


def main() -> None:
    """Print a table of median, smallest and largest seconds."""
    as_a_stage(keeps=False)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1449)
    parser.add_argument("--clusters", type=int, default=500)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--grid", type=int, default=32, help="patches a side")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--old-images", type=int, default=5, help="images of the old way")
    parser.add_argument("--old-clusters", type=int, default=50, help="clusters of the old way")
    args = parser.parse_args()

    evaluate = protocols.get("overcluster").evaluate
    counts, seconds = count(args.images, args.clusters, args.classes, args.grid)
    new = repeat(lambda: evaluate(counts), args.repetitions)
    small = (args.old_images, args.old_clusters, args.classes, args.grid)
    old = repeat(lambda: old_way(*small), args.repetitions)
    score = evaluate(count(*small)[0])["precision"].value
    if abs(score - old_way(*small)) > 1e-12:
        raise SystemExit("the old way and the new way disagree")
    factor = args.images * args.clusters / (args.old_images * args.old_clusters)

    print(f"{args.images} images of {SIDE}x{SIDE}, {args.clusters} clusters, {args.classes} classes, grid {args.grid}")
    print(f"{len(counts.count):,} sparse entries; counting took {seconds:.1f} s (once for all protocols)")
    versions = f"NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}"
    print(f"{available()} CPUs, 1 thread used, {versions}")
    print(f"{f'seconds, {args.repetitions} repetitions':<44}{'median':>11}{'min':>11}{'max':>11}")
    print(line("overcluster (precision and IoU) from counts", new))
    print(line(f"old way, {args.old_images} images, {args.old_clusters} clusters", old))
    print(line("old way, extrapolated to the full size", [factor * value for value in old]))
    print(f"the old way is {factor * median(old) / median(new):,.0f} times slower (extrapolated, precision only)")


if __name__ == "__main__":
    main()
