"""Small trainings of AlignSeg on a bank in memory."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from jobs import train_job

from patchbank.bank.statistics import Statistics
from patchbank.methods.alignseg import train as training
from patchbank.methods.alignseg.settings import AlignSegSettings

DIM = 12


class FakeBank:
    """The part of a bank's interface that the head reads, over arrays in memory."""

    def __init__(self, images: int = 7, draws: int = 2, views: int = 3, seed: int = 0, dtype: str = "float16") -> None:
        random = np.random.default_rng(seed)
        self.images, self.draws, self.views = [f"{i:016x}" for i in range(images)], draws, views
        self.grid, self.tokens_per_view, self.dim, self.input_size = (4, 5), 20, DIM, (56, 70)
        self.record = {"backbone": {"name": "fake", "block": 8}, "fake": seed}
        self.dtype, self.coding = np.dtype(dtype), None
        shape = (images * draws, views, 20)
        self.data = {
            "tokens": (random.standard_normal((*shape, DIM)) + 1).astype(dtype),
            "cls_attention": (random.random((*shape[:2], 2, 20)) ** 4).astype(np.float16),
        }
        self.asked: list[list[int]] = []

    def read(self, rows: Any, fields: Any = ("tokens",), out: Any = None) -> dict[str, np.ndarray]:
        if "tokens" in fields:
            self.asked.append(list(rows))
        result = {name: self.data[name][rows] for name in fields}
        if out:
            for name in fields:
                out[name][...] = result[name]
            return {name: out[name] for name in fields}
        return result

    def statistics(self) -> Statistics:
        tokens = self.data["tokens"].reshape(-1, DIM).astype(np.float64)
        return Statistics(tokens.mean(0), tokens.std(0), len(tokens))


def small(**changes: Any) -> AlignSegSettings:
    values = {"queries": 3, "heads": 3, "hidden": 8, "epochs": 5, "batch_size": 3, "checkpoint_every": 2, "lr": 1e-2}
    return AlignSegSettings(**{**values, **changes})


def run(folder: Path, settings: AlignSegSettings, bank: Any = None, seed: int = 0, **more: Any) -> dict[str, Path]:
    bank = bank or FakeBank()
    folder.mkdir(parents=True, exist_ok=True)
    job = train_job("alignseg", folder, seed=seed, device="cpu")
    training.train_head(bank, bank.statistics(), settings, job, **more)
    files = job.files
    return {"head": files.checkpoint, "steps": files.steps_csv, "epochs": files.epochs_csv, "state": job.state_root}


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def untimed(path: Path) -> list[tuple[str, ...]]:
    return [tuple(value for name, value in row.items() if name != "images_per_second") for row in table(path)]
