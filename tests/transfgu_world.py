"""Small banks of the extract stage for TransFGU, and its stages run on them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from bank_factory import extract_all, make_images
from jobs import predict_job, train_job

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.transfgu.settings import recipes, resolve

OWN = {"heads": 3, "epochs": 5, "batch_size": 4, "lr": 1e-3, "checkpoint_every": 1, "teacher_start": 1, "niter": 5}
EXACT = resolve({**OWN, "background": True}, {"k": [3]})
SOURCES = {
    "exact": EXACT,
    "things": resolve(OWN, {"k": [3]}),
    "stuff": resolve({**OWN, "stuff": 1}, {"k": [3]}),
    "pooled": resolve({**OWN, "window_feature": "pooled", "centre": "mean"}, {"k": [3]}),
    "tokens": resolve({**OWN, "pseudo_label": "token_similarity", "pca": 8, "centre": "standardise"}, {"k": [3]}),
    "bfloat16": resolve({**OWN, "precision": "bfloat16"}, {"k": [3]}),
    "segments": resolve({**OWN, "pseudo_label": "token_similarity", "pca": 8, "segments": 4}, {"k": [3]}),
}


def make_world(folder: Path) -> dict[str, Path]:
    """Banks of nine images by recipe, `val`, the statistics, and the folder they lie in."""
    make_images(folder, 9)
    windows = {"size": 48, "scales": [0.6, 0.4], "window": 32, "select": "foreground+background"}
    whole = ExtractSettings("whole", {"size": 64}, images_per_shard=4)
    found = {
        "windows": extract_all(folder, ExtractSettings("windows", windows, images_per_shard=4)),
        "lastblock": extract_all(folder, ExtractSettings("lastblock", {"size": 64}, images_per_shard=4)),
        "augmented": extract_all(folder, ExtractSettings("augmented", {"size": 64, "draws": 2}, images_per_shard=4)),
        "whole": extract_all(folder, whole),
        "val": extract_all(folder, whole, "val"),
        "statistics": folder / "statistics.npz",
        "folder": folder,
    }
    compute_statistics(found["whole"], found["statistics"])
    return found


def train_in(world: dict[str, Path], name: str, settings: dict[str, Any] = EXACT, seed: int = 0) -> Path:
    folder = world["folder"] / name
    given = {"banks": {recipe: world[recipe] for recipe in recipes(settings)}, "statistics": world["statistics"]}
    run_train(train_job("transfgu", folder, settings=settings, seed=seed, **given))
    return folder / "checkpoint.safetensors"


def predict_in(world: dict[str, Path], checkpoint: Path, bank: str = "val") -> Path:
    out = checkpoint.parent / "val.h5"
    run_predict(predict_job("transfgu", out, banks={"whole": world[bank]}, checkpoint=checkpoint))
    return out


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]
