"""Memory of each stage with 200 and with 2,000 images: peak RssAnon + RssShmem of the whole process tree.

    python benchmarks/bench_memory.py [--small 200] [--large 2000]

Pages of mapped banks (RssFile) are the page cache's and do not count. Pictures are random, 96x96; the encoder is a
2-block ViT-S/16 with random weights at 112 pixels (49 tokens of 384), multicrop with 1 draw: the absolute numbers are
those of Python, torch and one batch; what counts is that they do not grow with the number of images.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from timing import as_a_stage, machine

from patchbank import memory

STAGES = (
    "extract",
    "train alignseg",
    "train kmeans",
    "predict alignseg",
    "predict kmeans",
    "segment clusters",
    "count",
)


def make_world(folder: Path, images: int) -> None:
    """Pictures, masks, manifest and weights."""
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    from patchbank.datasets.scan import scan
    from patchbank.datasets.spec import make_spec
    from patchbank.files import sha256_file, write_json
    from patchbank.weights.model import build_model

    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / "data" / kind / split).mkdir(parents=True)
        for i in range(images):
            picture = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((96, 96))
            picture.save(folder / "data" / "images" / split / f"{i:05d}.png")
            mask = Image.fromarray(rng.integers(0, 9, (4, 4), dtype=np.uint8)).resize(
                (96, 96), Image.Resampling.NEAREST
            )
            mask.save(folder / "data" / "masks" / split / f"{i:05d}.png")
    spec = make_spec("random", "folder", folder / "data", classes=[f"class {i}" for i in range(9)])
    scan(spec).save(folder / "manifest.json")
    torch.manual_seed(0)
    save_file(build_model("vit_small_patch16_224").state_dict(), folder / "weights.safetensors")
    write_json(folder / "weights.json", {"sha256": sha256_file(folder / "weights.safetensors")})


KMEANS = {
    "k": [9, 100],
    "kmeans_seeds": [0],
    "sample": 5000,
    "projection": {"centre": "mean", "pca": 64, "whiten": False, "normalise": False},
    "kmeans": {"niter": 10, "nredo": 1},
}


def run_stage(name: str, folder: Path) -> None:
    """One stage, as the workflow's scripts call it; in a process of its own, so it imports what it needs itself."""
    stage, _, method = name.partition(" ")
    if stage == "train":
        run_training(method, folder)
    elif stage == "predict":
        run_prediction(method, folder)
    else:
        {"extract": run_extract, "segment": run_clusters, "count": run_count}[stage](folder)


def run_extract(folder: Path) -> None:
    from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
    from patchbank.bank.finish import finish
    from patchbank.bank.statistics import compute_statistics
    from patchbank.weights.spec import BackboneSpec

    memory.keep()
    spec = BackboneSpec("random", "vit_small_patch16_224", block=1, norm=False)
    for split, recipe in (("train", "whole"), ("val", "whole"), ("train", "multicrop")):
        options = {"size": 112} if recipe == "whole" else {"size": 112, "draws": 1}
        settings = ExtractSettings(recipe, options, batch_tokens=2048)
        part = folder / f"{split}-{recipe}-part.json"
        files = (folder / "weights.safetensors", folder / "weights.json")
        extract(ExtractJob(folder / "manifest.json", split, spec, *files, settings, folder / "bank", part))
        finish([part], folder / "manifest.json", folder / f"{split}-{recipe}.json")
    compute_statistics(folder / "train-whole.json", folder / "statistics.npz")


def run_training(method: str, folder: Path) -> None:
    from patchbank.config.load import default_config
    from patchbank.methods.contract import run_train
    from patchbank.methods.jobs import TrainingFiles, TrainJob

    memory.keep()
    recipe = "multicrop" if method == "alignseg" else "whole"
    settings = default_config().method("msrc", method).settings
    files = TrainingFiles(folder / f"{method}.safetensors", folder / "steps.csv", folder / "epochs.csv")
    given = {**settings, "epochs": 2} if method == "alignseg" else KMEANS
    banks = {recipe: folder / f"train-{recipe}.json"}
    run_train(
        TrainJob(
            folder=method,
            banks=banks,
            statistics=folder / "statistics.npz",
            settings=given,
            seed=0,
            files=files,
            state_root=folder / "state",
        )
    )


def run_prediction(method: str, folder: Path) -> None:
    from patchbank.methods.contract import run_predict
    from patchbank.methods.jobs import PredictJob

    for split in ("train", "val"):
        run_predict(
            PredictJob(
                folder=method,
                row=method,
                banks={"whole": folder / f"{split}-whole.json"},
                statistics=folder / "statistics.npz",
                settings=KMEANS if method == "kmeans" else {},
                seed=0,
                dataset="random",
                split=split,
                out=folder / f"{method}-{split}.h5",
                checkpoint=folder / f"{method}.safetensors",
            )
        )


def run_clusters(folder: Path) -> None:
    from patchbank.config.load import default_config
    from patchbank.segments.cluster import SegmentClusterSettings, cluster_segments

    shared = {**default_config().shared("msrc"), "k": [9, 100], "kmeans_seeds": [0]}
    cluster_segments(
        folder / "train-whole.json",
        folder / "alignseg-train.h5",
        folder / "val-whole.json",
        folder / "alignseg-val.h5",
        folder / "statistics.npz",
        SegmentClusterSettings.parse(shared),
        0,
        folder / "clusters.npz",
    )


def run_count(folder: Path) -> None:
    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.count import count_predictions

    manifest = Manifest.load(folder / "manifest.json")
    count_predictions(folder / "kmeans-val.h5", manifest, folder / "counts.npz", "squash_448_100")


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        below = [int(child) for child in children.read_text().split()]
    except FileNotFoundError:
        return []
    return [pid, *(p for child in below for p in tree(child))]


def private_kb(pid: int) -> int:
    """RssAnon + RssShmem of one process in kB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))


def peak_of(run: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Peak MB and seconds of a function in a process of its own."""
    process = multiprocessing.get_context("spawn").Process(target=run, args=arguments)
    start, peak = time.perf_counter(), 0
    process.start()
    while process.is_alive():
        peak = max(peak, sum(private_kb(pid) for pid in tree(process.pid or 0)))
        time.sleep(0.02)
    process.join()
    if process.exitcode:
        raise SystemExit(f"{arguments[0]} failed with status {process.exitcode}")
    return peak / 1024, time.perf_counter() - start


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=200)
    parser.add_argument("--large", type=int, default=2000)
    options = parser.parse_args()
    measured: dict[str, list[tuple[float, float]]] = {name: [] for name in STAGES}
    counts = 0.0
    for images in (options.small, options.large):
        folder = Path(tempfile.mkdtemp(prefix="bench-memory-"))
        try:
            make_world(folder, images)
            for name in STAGES:
                measured[name].append(peak_of(run_stage, name, folder))
            counts = (folder / "counts.npz").stat().st_size / images
        finally:
            shutil.rmtree(folder)
    print(machine())
    print(f"{'stage':18s} {options.small:>6} images  {options.large:>6} images   growth")
    for name, ((small, _), (large, seconds)) in measured.items():
        growth = 100 * (large / small - 1)
        print(f"{name:18s} {small:8.0f} MB     {large:8.0f} MB     {growth:+5.1f} %   ({seconds:.0f} s)")
    print(f"counts on disk: {counts:.0f} bytes an image")


if __name__ == "__main__":
    main()
