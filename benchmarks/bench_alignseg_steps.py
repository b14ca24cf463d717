"""Steps per second of AlignSeg training from a bank: five repetitions, median and spread.

    python benchmarks/bench_alignseg_steps.py [--bank PATH] [--threads 2] [--device cuda --steps 2000] [--repetitions 5]

Without `--bank` a synthetic one is written first and read through the real reader's interface from a mapped file:
float16, 3 views x 256 tokens x 384. The defaults of the head apply otherwise: 5 queries, batch 32, mean subtracted.
A step includes reading, conversion, both losses, gradients and AdamW; masks and start-up (on a GPU also the bank's way
there and the recording of the step) are timed apart, in the whole run.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from timing import as_a_stage, machine, spread

from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.methods.alignseg.train import FETCH_EVERY, train_head
from patchbank.methods.jobs import TrainingFiles, TrainJob

VIEWS, TOKENS, DIM, HEADS, SIDE = 3, 256, 384, 6, 16


class SyntheticBank:
    """Random features in a mapped file, with the interface of `patchbank.bank.reader.Bank` that training uses."""

    def __init__(self, folder: Path, images: int) -> None:
        random = np.random.default_rng(0)
        self.images, self.draws, self.record = [f"{i:016x}" for i in range(images)], 1, {"synthetic": images}
        self.views, self.tokens_per_view, self.dim, self.grid = VIEWS, TOKENS, DIM, (SIDE, SIDE)
        self.dtype, self.coding = np.dtype(np.float16), None
        shape = (images, VIEWS, TOKENS, DIM)
        written = np.memmap(folder / "tokens", np.float16, "w+", shape=shape)
        for row in range(images):
            written[row] = random.standard_normal(shape[1:], dtype=np.float32)
        written.flush()
        attention = random.random((images, VIEWS, HEADS, TOKENS), dtype=np.float32) ** 4
        self._data = {"tokens": np.memmap(folder / "tokens", np.float16, "r", shape=shape), "cls_attention": attention}

    def read(self, rows: np.ndarray, fields: tuple[str, ...], out: Any = None) -> dict[str, np.ndarray]:
        """Rows of the named fields, into `out` when given."""
        result = {
            f: out[f] if out else np.empty((len(rows), *self._data[f].shape[1:]), self._data[f].dtype) for f in fields
        }
        for i, row in enumerate(rows):
            for name in fields:
                result[name][i] = self._data[name][row]
        return result


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, help="a multicrop bank; default: a synthetic one")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with the bank in its memory")
    parser.add_argument("--steps", type=int, default=60, help="on a GPU some thousand")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--queries", type=int, default=5)
    parser.add_argument("--images", type=int, default=512, help="of the synthetic bank (590 kB each)")
    arguments = parser.parse_args()
    start_up = 2 if arguments.device == "cpu" else 2 * FETCH_EVERY
    if arguments.steps <= start_up:
        parser.error(f"--steps must be above {start_up}, which are not counted")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bank: Any = open_bank(arguments.bank) if arguments.bank else SyntheticBank(folder, arguments.images)
        statistics = Statistics(np.zeros(bank.dim), np.ones(bank.dim), 1)
        epochs = -(-arguments.steps // max(1, len(bank.images) // 32))
        settings = AlignSegSettings(epochs=epochs, queries=arguments.queries, checkpoint_every=epochs)
        job = TrainJob(
            folder="alignseg",
            banks={},
            statistics=folder / "unread.npz",
            settings={},
            seed=0,
            files=TrainingFiles.below(folder),
            state_root=folder / "state",
            device=arguments.device,
            threads=arguments.threads,
        )
        speeds, walls = [], []
        for repetition in range(arguments.repetitions):
            started = time.perf_counter()
            train_head(bank, statistics, settings, replace(job, seed=repetition))
            walls.append(time.perf_counter() - started)
            with (folder / "steps.csv").open() as file:
                rows = list(csv.DictReader(file))[start_up:]
            seconds = sum(min(32, len(bank.images)) / float(row["images_per_second"]) for row in rows)
            speeds.append(len(rows) / seconds)
            print(f"repetition {repetition}: {speeds[-1]:.2f} steps/s ({len(rows)} steps; run {walls[-1]:.1f} s)")
    print(f"{machine()}; trained on {arguments.device}")
    print(f"batch 32, {bank.views} views of {bank.tokens_per_view} tokens x {bank.dim}, {arguments.queries} queries")
    print(f"steps/s: {spread(speeds)}; whole run in seconds: {spread(walls)}")


if __name__ == "__main__":
    main()
