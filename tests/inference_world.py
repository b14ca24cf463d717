"""A finished run of a tiny encoder and head, and `patchbank segment` with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from bank_factory import extract_all, make_images
from jobs import predict_job, train_job

from patchbank.bank.extract import ExtractSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.cli import main
from patchbank.methods.alignseg.settings import resolve
from patchbank.methods.contract import run_predict, run_train
from patchbank.segments.cluster import cluster_segments
from patchbank.segments.settings import SegmentClusterSettings

SETTINGS = resolve({"queries": 3, "heads": 2, "hidden": 16, "epochs": 2, "batch_size": 4}, {})


def make_world(folder: Path) -> Path:
    """A finished run as the pipeline leaves it: ``toy/manifest.json``, ``toy/mine/seed0/...``, weights beside it."""
    make_images(folder, 6)
    seed = folder / "toy" / "mine" / "seed0"
    crops = ExtractSettings("multicrop", {"size": 64, "draws": 1}, images_per_shard=8, batch_tokens=256)
    whole = ExtractSettings("whole", {"size": 64}, images_per_shard=8)
    banks = {split: extract_all(folder, whole, split) for split in ("train", "val")}
    compute_statistics(banks["train"], folder / "statistics.npz")
    common: dict[str, Any] = {"statistics": folder / "statistics.npz", "settings": SETTINGS}
    job = train_job("alignseg", seed, banks={"multicrop": extract_all(folder, crops)}, **common)
    run_train(job)
    for split, bank in banks.items():
        given = {"banks": {"whole": bank}, "checkpoint": job.files.checkpoint, "split": split}
        run_predict(predict_job("alignseg", seed / f"{split}.h5", **given, **common))
    clustering = SegmentClusterSettings(k=(3, 4), kmeans_seeds=(0,))
    splits = [banks["train"], seed / "train.h5", banks["val"], seed / "val.h5"]
    cluster_segments(*splits, folder / "statistics.npz", clustering, 0, seed / "clusters.npz")
    shutil.copy(folder / "manifest.json", folder / "toy" / "manifest.json")
    return folder


def run(
    world: Path, out: Path, *more: str, paths: tuple[Path, ...] = (), size: tuple[str, ...] = ("--size", "64")
) -> int:
    """The command, on the val pictures of `world` where no other paths are given."""
    named = paths or (world / "data" / "images" / "val",)
    seed = world / "toy" / "mine" / "seed0"
    models = ["--checkpoint", str(seed / "checkpoint.safetensors"), "--weights", str(world / "weights.safetensors")]
    fixed = ["--out", str(out), "--device", "cpu", "--threads", "1"]
    return main(["segment", *map(str, named), *models, *fixed, *size, *more])
