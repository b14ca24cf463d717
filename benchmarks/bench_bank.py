"""Reading random sorted batches of 32 rows: our reader against `numpy.take` on an in-memory copy; two processes.

    python benchmarks/bench_bank.py [--gb 1.2] [--batches 100] [--repetitions 5]

The bank is written by the real writer (random float16, 3 views x 256 tokens x 384, shards of 128 images) and is in the
page cache after the warm-up. Speed is GB/s of tokens into a preallocated buffer. Two processes read disjoint halves of
the batches at the same time; their speed is the sum of bytes over the time of the slower one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from timing import as_a_stage, machine, paired, spread

from patchbank.bank.format import FORMAT, content_hash, cut, shard_count, shard_name
from patchbank.bank.reader import open_bank
from patchbank.bank.writer import ShardWriter
from patchbank.files import write_json

VIEWS, TOKENS, DIM, HEADS, BATCH = 3, 256, 384, 6, 32


def write_bank(folder: Path, images: int) -> None:
    """A random bank of `images` samples."""
    rng = np.random.default_rng(0)
    ids = sorted(f"{int(v):016x}" for v in rng.integers(0, 2**63, images, dtype=np.uint64) * 2)
    record = {
        "format": FORMAT,
        "package": "benchmark",
        "dataset": "random",
        "split": "train",
        "manifest": "",
        "shards": shard_count(images, 128),
        "recipe": {"name": "multicrop", "size": [224, 224], "draws": 1},
        "dtype": "float16",
    }
    half = np.dtype(np.float16)
    shapes = {
        "tokens": ((VIEWS, TOKENS, DIM), half),
        "cls": ((VIEWS, DIM), half),
        "cls_attention": ((VIEWS, HEADS, TOKENS), half),
        "boxes": ((VIEWS, 4), np.dtype(np.float32)),
        "flip": ((VIEWS,), np.dtype(np.uint8)),
    }
    block = rng.standard_normal((VIEWS, TOKENS, DIM), dtype=np.float32)
    zeros = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in shapes.items()}
    for index, part in enumerate(cut(ids, record["shards"])):
        with ShardWriter(folder / shard_name(index), content_hash(record), len(part), shapes) as writer:
            for i, image in enumerate(part):
                writer.write([image], {**zeros, "tokens": np.roll(block, i, axis=1)[None]})
    write_json(folder / "bank.json", {**record, "ids": ids})


def batches(images: int, count: int, seed: int) -> list[np.ndarray]:
    """Sorted random batches."""
    rng = np.random.default_rng(seed)
    return [np.sort(rng.choice(images, BATCH, replace=False)) for _ in range(count)]


def read_all(folder: Path, rows: list[np.ndarray], repetitions: int, start: object, seconds: object) -> None:
    """A reader process: warm up, wait for the others, read, and say how long each repetition took."""
    bank = open_bank(folder)
    out = {"tokens": np.empty((BATCH, VIEWS, TOKENS, DIM), np.float16)}
    for row in rows:
        bank.read(row, ("tokens",), out)
    for _ in range(repetitions):
        start.wait()
        begin = time.perf_counter()
        for row in rows:
            bank.read(row, ("tokens",), out)
        seconds.put(time.perf_counter() - begin)


def processes(folder: Path, rows: list[np.ndarray], repetitions: int, count: int) -> list[float]:
    """Seconds of each repetition with `count` processes that read all `rows` each."""
    context = multiprocessing.get_context("spawn")
    start, seconds = context.Barrier(count), context.Queue()
    workers = [context.Process(target=read_all, args=(folder, rows, repetitions, start, seconds)) for _ in range(count)]
    for worker in workers:
        worker.start()
    slowest = [max(seconds.get() for _ in range(count)) for _ in range(repetitions)]
    for worker in workers:
        worker.join()
    return slowest


def main() -> None:
    as_a_stage(keeps=False)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=1.2)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the bank is written (default: a temporary folder)")
    options = parser.parse_args()
    row = VIEWS * TOKENS * DIM * 2
    images = int(options.gb * 1e9 / row)
    folder = Path(tempfile.mkdtemp(prefix="bench-bank-", dir=options.folder))
    try:
        write_bank(folder, images)
        bank = open_bank(folder)
        copy = bank.read(np.arange(images), ("tokens",))["tokens"]
        out = {"tokens": np.empty((BATCH, VIEWS, TOKENS, DIM), np.float16)}
        rows = batches(images, options.batches, 1)

        def ours() -> None:
            for batch in rows:
                bank.read(batch, ("tokens",), out)

        def take(copy: np.ndarray = copy) -> None:
            for batch in rows:
                np.take(copy, batch, axis=0, out=out["tokens"])

        ours_s, take_s = paired([ours, take], options.repetitions)
        one = processes(folder, rows, options.repetitions, 1)
        two = processes(folder, rows, options.repetitions, 2)
    finally:
        shutil.rmtree(folder)
    memory = images * row / 1e9
    size = options.batches * BATCH * row / 1e9
    print(machine())
    print(f"{images} samples of {row / 1e3:.0f} kB ({memory:.2f} GB), {options.batches} batches of {BATCH} rows")
    print(f"reader             GB/s {spread([size / s for s in ours_s])}")
    print(f"numpy.take(out=)   GB/s {spread([size / s for s in take_s])}")
    print(f"reader / take         % {spread([100 * t / o for o, t in zip(ours_s, take_s, strict=True)], 1)}")
    print(f"one process        GB/s {spread([size / s for s in one])}")
    print(f"two processes      GB/s {spread([2 * size / s for s in two])}")
    print(f"two / one               {spread([2 * a / b for a, b in zip(one, two, strict=True)])}")


if __name__ == "__main__":
    main()
