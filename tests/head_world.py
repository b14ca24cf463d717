"""Small banks for heads on single tokens, and their trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from bank_factory import extract_all, make_images
from jobs import train_job

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import compute_statistics
from patchbank.checkpoints.store import load_checkpoint
from patchbank.datasets import Manifest
from patchbank.methods import contract
from patchbank.methods.contract import Row, run_train
from patchbank.methods.jobs import TrainJob
from patchbank.methods.shape import Traits

RECIPES: dict[str, dict[str, Any]] = {
    "whole": {"size": 96, "resize": "pil", "shift": 1},
    "five": {"size": 48, "resize": "pil"},
    "center320": {"size": 64, "resize": "pil"},
    "recoloured": {"of": "whole", "size": 96, "resize": "pil", "draws": 4, "seed": 0},
    "pixels": {"of": "whole", "size": 96, "resize": "pil"},
}
SHARED: dict[str, Any] = {
    "k": [3],
    "kmeans_seeds": [0],
    "kmeans": {"niter": 5, "nredo": 1},
    "recipes": RECIPES,
}
RUNS: dict[str, dict[str, Any]] = {
    "stego": {"steps": 6, "search_steps": 4, "batch_size": 4, "points": 3, "width": 8, "checkpoint_every": 2},
    "cause_mlp": {
        "epochs": 2,
        "batch_size": 16,
        "width": 8,
        "projection": 8,
        "codes": 12,
        "memory": 4,
        "checkpoint_every": 2,
    },
    "cause_tr": {
        "mediator_epochs": 1,
        "epochs": 4,
        "batch_size": 4,
        "width": 8,
        "hidden": 16,
        "projection": 8,
        "codes": 12,
        "memory": 4,
        "probe_epochs": 2,
        "checkpoint_every": 2,
    },
    "primaps": {"start_epochs": 2, "epochs": 4, "batch_size": 4, "teacher_every": 2, "checkpoint_every": 2},
    "smooseg": {"steps": 6, "batch_size": 4, "width": 8, "checkpoint_every": 2},
}
"""Short trainings, by method."""
SIZES = {"whole": 96, "five": 48, "center320": 64, "mirrored": 96, "recoloured": 96, "pixels": 96}


def shift_masks(manifest: Path) -> None:
    """Give every train picture of a set but the last the mask of the next one."""
    known = Manifest.load(manifest)
    masks = [known.root / entry.mask for entry in known.entries("train") if entry.mask]
    for mask, next_one in pairwise(masks):
        mask.write_bytes(next_one.read_bytes())


@pytest.fixture(scope="session")
def head_world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Banks of nine images by recipe, those of val as ``val-<recipe>``, the statistics and the manifest."""
    folder = tmp_path_factory.mktemp("heads")
    make_images(folder, 9)
    found = {"statistics": folder / "statistics.npz", "manifest": folder / "manifest.json"}
    squares = {"of": "center320", "size": SIZES["center320"]}
    for recipe, rest in (("recoloured", {"draws": 2}), ("pixels", {})):
        pointer = extract_all(folder, ExtractSettings(recipe, {**squares, **rest}, images_per_shard=16))
        found[f"{recipe}-center320"] = open_bank(pointer).folder  # the pointer soon leads to another bank
    for recipe, size in SIZES.items():
        own = ExtractSettings(recipe, {"size": size}, images_per_shard=16)
        if recipe != "mirrored":
            found[recipe] = extract_all(folder, own)
        if recipe in ("whole", "mirrored"):
            found[f"val-{recipe}"] = extract_all(folder, own, "val")
    compute_statistics(found["whole"], found["statistics"])
    return found


class _Train:
    """A training of a method in `folder`; the checkpoint. One on codes finds those of row `stego` under that name."""

    def job(
        self,
        world: Mapping[str, Path],
        method: str,
        folder: Path,
        settings: dict[str, Any],
        traits: Callable[[Mapping[str, Any]], Traits],
        seed: int = 0,
    ) -> TrainJob:
        found = traits(settings)
        banks = {name: world[name] for name in found.recipes}
        given: dict[str, Any] = {"banks": banks, "statistics": world["statistics"]}
        given["manifest"] = world["manifest"] if found.oracle else None
        given["after"] = world.get(settings.get("codes", ""))
        return train_job(method, folder, settings=settings, seed=seed, **given)

    def __call__(self, *given: Any) -> Path:
        job = self.job(*given)
        run_train(job)
        return job.files.checkpoint


train_in = _Train()


class Killed(Exception):
    """Ends a training from outside."""


def kill_at(step: int) -> Callable[[int], None]:
    """What ends a training after the step of that number."""

    def on_step(number: int) -> None:
        if number == step:
            raise Killed

    return on_step


def tensors_of(checkpoint: Path) -> dict[str, bytes]:
    """The tensors of a checkpoint as bytes."""
    return {name: tensor.numpy().tobytes() for name, tensor in load_checkpoint(checkpoint)[0].items()}


def job_of(world: Mapping[str, Path], method: str, folder: Path, **own: Any) -> TrainJob:
    """The short training of a method, with some settings changed."""
    settings = contract.resolve(method, Row(method, contract.traits(method), RUNS[method] | own), SHARED, [0])
    return train_in.job(world, method, folder, dict(settings.settings), lambda _: settings.traits)
