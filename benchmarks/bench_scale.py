"""What a set of COCO's size costs around its encoder: manifest, plan, samples, counting; everything linear in images.

    python benchmarks/bench_scale.py [--images 12000 40000 120000] [--only manifest tree load sample segments]

The set is made of hard links to a few tiny pictures and masks (8x8), so that only what a file costs beside its pixels
is measured. Banks of all its training pictures are written by the bank's own writer with random tokens (16 tokens of
width 8, float16); k-means is fitted on 50,000 tokens, predicts and is counted and scored on all of them. Each part
runs in a process of its own, one thread; what is printed are its CPU seconds and the RssAnon + RssShmem that it holds
at its end, imports excluded. Bars at 123,287 images, CPU seconds: manifest remembered 10, segment sample 15.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from timing import machine

EACH = 20_000
"""Links of one file; file systems limit them."""
GRID, DIM, QUERIES, PER_SHARD = 4, 8, 5, 128
BEGIN = """
import json, sys, time
from pathlib import Path
import numpy as np
folder, images = Path(sys.argv[1]), int(sys.argv[2])
def memory():
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return (int(lines["RssAnon"].split()[0]) + int(lines["RssShmem"].split()[0])) / 1e3
"""
END = """
before, begun = memory(), time.process_time()
work()
print(json.dumps([time.process_time() - begun, memory() - before]))
"""
SET = """
from patchbank.datasets import make_spec
spec = make_spec("big", "folder", folder / "set", classes=["a", "b", "c"])
"""
ROW = """
from patchbank.methods.jobs import PredictJob, TrainingFiles, TrainJob
settings = {"k": [3, 27], "kmeans_seeds": [0], "sample": 50_000, "kmeans": {"niter": 50, "nredo": 3}}
settings["projection"] = {"centre": "mean", "pca": 0, "whiten": False, "normalise": False}
row = {"banks": {"whole": folder / "bank"}, "statistics": folder / "statistics.npz", "settings": settings, "seed": 0}
row |= {"folder": "kmeans", "threads": 1}
"""
PARTS = {
    "manifest": SET
    + """
from patchbank.datasets.scan import examine
def work():
    examine(spec, memory=folder / "memory").manifest.save(folder / "manifest.json")
""",
    "tree": SET
    + """
from patchbank.datasets.manifest import tree_fingerprint
def work():
    tree_fingerprint(spec)
""",
    "load": """
from patchbank.datasets.manifest import Manifest
def work():
    global manifest
    manifest = Manifest.load(folder / "manifest.json")
    manifest.entries("train")
""",
    "sample": """
from patchbank.bank.reader import open_bank
from patchbank.bank.sample import sample_tokens
def work():
    sample_tokens(open_bank(folder / "bank"), 50_000, 0)
""",
    "segments": """
from patchbank.bank.statistics import Statistics
from patchbank.segments.cluster import _sample
from patchbank.segments.settings import SegmentClusterSettings
statistics = Statistics(np.zeros(8), np.ones(8), 1)
def work():
    _sample(folder / "bank", folder / "segments.h5", statistics, SegmentClusterSettings((27,)), 0)
""",
    "kmeans": ROW
    + """
from patchbank.bank.statistics import compute_statistics
from patchbank.methods.contract import run_train
def work():
    compute_statistics(folder / "bank", folder / "statistics.npz")
    run_train(TrainJob(state_root=folder, files=TrainingFiles.below(folder / "kmeans"), **row))
""",
    "predict": ROW
    + """
from patchbank.methods.contract import run_predict
def work():
    names = {"row": "kmeans", "dataset": "big", "split": "train", "out": folder / "train.h5"}
    run_predict(PredictJob(checkpoint=TrainingFiles.below(folder / "kmeans").checkpoint, **names, **row))
""",
    "count": """
from patchbank.datasets.manifest import Manifest
from patchbank.evaluation.count import count_predictions
def work():
    manifest = Manifest.load(folder / "manifest.json")
    count_predictions(folder / "train.h5", manifest, folder / "counts.npz", "squash_448_100", workers=1)
""",
    "score": """
from patchbank.evaluation.score import Scoring, context_of, score_method
from patchbank.methods.contract import Method, traits
protocols = ("per_image", "hungarian", "hungarian_iou", "overcluster")
def work():
    method = Method("kmeans", "kmeans", {}, (0,), traits("kmeans"))
    context = context_of(method, ["a", "b", "c"], Scoring("big", protocols, "squash_448_100", "train"))
    assert len(score_method({0: folder / "counts.npz"}, None, context)["rows"]) >= 4
""",
}
OF_BANKS = ("sample", "segments", "kmeans", "predict", "count", "score")
"""Parts that read the bank."""


def make_set(folder: Path, images: int) -> None:
    """A set of layout `folder`, 24 of 25 pictures in `train`."""
    rng = np.random.default_rng(0)
    for split, count in (("train", images - images // 25), ("val", images // 25)):
        for kind, suffix in (("images", "jpg"), ("masks", "png")):
            place = folder / kind / split
            place.mkdir(parents=True)
            for number in range(count):
                path = place / f"{number:012d}.{suffix}"
                if number % EACH:
                    os.link(place / f"{number - number % EACH:012d}.{suffix}", path)
                    continue
                pixels = rng.integers(0, 256, (8, 8, 3)) if kind == "images" else rng.integers(0, 3, (8, 8))
                Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_bank(folder: Path) -> None:
    """A bank `whole` of random tokens, and a prediction of five segments an image."""
    from patchbank.bank.format import FORMAT, content_hash, cut, shard_count, shard_name
    from patchbank.bank.writer import ShardWriter
    from patchbank.datasets.manifest import Manifest
    from patchbank.files import write_json
    from patchbank.predictions import PredictionRecord, PredictionWriter

    rng = np.random.default_rng(0)
    ids = [entry.id for entry in Manifest.load(folder / "manifest.json").entries("train")]
    images = len(ids)
    recipe = {"name": "whole", "size": [8 * GRID, 8 * GRID], "fields": ["tokens", "boxes", "flip", "image"]}
    record = {"format": FORMAT, "code": "", "recipe": recipe, "precision": "float32", "dtype": "float16"}
    record |= {"backbone": {"name": "none", "block": 0}, "dataset": "big", "split": "train", "manifest": ""}
    record |= {"shards": shard_count(images, PER_SHARD), "images": images}
    shapes = {"tokens": ((1, GRID * GRID, DIM), np.dtype(np.float16)), "boxes": ((1, 4), np.dtype(np.float32))}
    shapes["flip"] = ((1,), np.dtype(np.uint8))
    for number, part in enumerate(cut(ids, record["shards"])):
        with ShardWriter(folder / "bank" / shard_name(number), content_hash(record), len(part), shapes) as writer:
            fields = {name: rng.random((len(part), *shape)).astype(dtype) for name, (shape, dtype) in shapes.items()}
            writer.write(part, fields)
    write_json(folder / "bank" / "bank.json", {**record, "ids": ids})
    said = PredictionRecord("big", "train", "any", "segments", 0, "nearest", (8 * GRID, 8 * GRID), {})
    with PredictionWriter(folder / "segments.h5", said, ids, {"segments": QUERIES}, (GRID, GRID)) as writer:
        for start in range(0, images, 1024):
            size = min(1024, images - start)
            writer.write_scores("segments", start, rng.random((size, QUERIES, GRID, GRID)).astype(np.float32))


def run(part: str, folder: Path, images: int) -> tuple[float, float]:
    """CPU seconds and MB of a part."""
    command = [sys.executable, "-c", BEGIN + PARTS[part] + END, str(folder), str(images)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[12_000, 40_000, 120_000])
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    print(machine())
    for images in options.images:
        with tempfile.TemporaryDirectory(prefix="patchbank-") as name:
            folder = Path(name)
            make_set(folder / "set", images)
            print(f"{images} images, first scan: {run('manifest', folder, images)[0]:.1f} s of CPU", flush=True)
            if set(OF_BANKS) & set(options.only):
                make_bank(folder)
            for part in options.only:
                seconds, megabytes = run(part, folder, images)
                print(f"{images} images, {part}: {seconds:.2f} s of CPU, {megabytes:+.0f} MB", flush=True)


if __name__ == "__main__":
    main()
