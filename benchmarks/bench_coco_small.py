"""A sixth of COCO, from files to counts with AlignSeg: seconds and share of every stage.

    python benchmarks/bench_coco_small.py [--images 20000] [--draws 4] [--epochs 10] [--seeds 0 1 2]
        [--tokens-from crops|whole] [--dtype float16|int8] [--precision bfloat16] [--weights FILE] [--work DIR]

JPEGs of COCO's size (640x480) and masks of `coco27`'s classes are made first, which is not timed: a picture is a map
of a few regions, each with colour and grain of its class. One in 25 is scored. Then the stages run one after the other
in this process, by the functions that the scripts of the rules call and with the settings that are shipped for
`coco27`: manifest (every file is decoded), banks of whole images and of crops, statistics, decoded labels, a training
for each seed, segments of both splits, their clusters, counts. Without `--weights` the encoder's are random, whose
arithmetic is that of real ones; it computes in bfloat16 on a GPU, elsewhere in float32. Bar on one H100: 20,000 images
in 180 s.

Needed are neither Snakemake nor a download, and faiss for the clusters of segments alone, which are left out without.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from timing import as_a_stage, machine

from patchbank import threads
from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.bank.reader import open_bank
from patchbank.bank.settings import CodingSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.config.config import Config
from patchbank.config.load import read_config
from patchbank.datasets.manifest import Manifest
from patchbank.datasets.scan import scan
from patchbank.datasets.spec import make_spec
from patchbank.errors import UserError
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.truth_file import Asked, Truth, make_truth
from patchbank.files import check_space, sha256_file, write_json
from patchbank.methods.contract import run_predict, run_train
from patchbank.methods.jobs import PredictJob, TrainingFiles, TrainJob
from patchbank.segments.cluster import cluster_segments
from patchbank.segments.settings import SegmentClusterSettings
from patchbank.views.bounds import stored_as
from patchbank.weights.model import build_model

SET, ENCODER, METHOD = "coco27", "dinov2_vits14_saliency", "alignseg"
WIDTH, HEIGHT, REGIONS, COARSE = 640, 480, 8, 8
SCORED = 25
"""One in so many images."""
JPEG, CROPS, WHOLE = 160e3, 600e3, 800e3
"""Bytes of a picture with its mask, and in float16 of a draw of its crops and of its tokens."""


@cache
def grain() -> np.ndarray:
    """Noise of several scales, (HEIGHT + 64, WIDTH + 64) float32."""
    rng, size = np.random.default_rng(0), (WIDTH + 64, HEIGHT + 64)
    scales = [rng.normal(0, strength, (side, side)) for side, strength in ((12, 30), (60, 20), (300, 18), (600, 14))]
    layers = [Image.fromarray(noise.astype(np.float32)).resize(size, Image.Resampling.BICUBIC) for noise in scales]
    return np.sum([np.asarray(layer) for layer in layers], 0, dtype=np.float32)


def make_picture(folder: Path, classes: int, number: int) -> None:
    """A picture and its mask."""
    rng, split = np.random.default_rng(number), "val" if number % SCORED == 0 else "train"
    y, x = np.mgrid[: HEIGHT // COARSE, : WIDTH // COARSE]
    centres = rng.random((REGIONS, 2)) * y.shape
    nearest = np.argmin([(y - top) ** 2 + (x - left) ** 2 for top, left in centres], 0)
    mask = rng.integers(0, classes, REGIONS).astype(np.uint8)[nearest].repeat(COARSE, 0).repeat(COARSE, 1)
    looks = np.random.default_rng(1).random((classes, 4)).astype(np.float32)  # of each class, in all pictures
    top, left = rng.integers(0, 64, 2)
    grains = grain()[top : top + HEIGHT, left : left + WIDTH] * (0.3 + looks[mask, 3])
    picture = 40 + 170 * looks[mask, :3] + rng.normal(0, 12, 3).astype(np.float32) + grains[..., None]
    name = f"{number:012d}"
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / "images" / split / f"{name}.jpg", quality=92)
    Image.fromarray(mask).save(folder / "masks" / split / f"{name}.png")


def make_set(folder: Path, images: int, classes: int) -> float:
    """Pictures and masks in layout `folder`; mean kB of a JPEG."""
    for kind in ("images", "masks"):
        for split in ("train", "val"):
            (folder / kind / split).mkdir(parents=True)
    with multiprocessing.get_context("fork").Pool(threads.available()) as pool:
        pool.map(partial(make_picture, folder, classes), range(images), chunksize=16)
    return sum(path.stat().st_size for path in (folder / "images").rglob("*.jpg")) / images / 1e3


def make_weights(folder: Path, config: Config, given: Path | None) -> tuple[Path, Path]:
    """Weights of the encoder, random ones where none are given, and where they come from."""
    weights, provenance = given or folder / "weights.safetensors", folder / "weights.json"
    if given is None:
        torch.manual_seed(0)
        save_file(build_model(config.backbone(ENCODER).model).state_dict(), weights)
    write_json(provenance, {"sha256": sha256_file(weights)})
    return weights, provenance


class Stages:
    """The stages, each with what it reads and writes below a folder.

    Args:
        folder: with the set in `set/`.
        config: the shipped configuration, with what the command line changes.
        options: of the command line.
    """

    def __init__(self, folder: Path, config: Config, options: argparse.Namespace) -> None:
        self.folder, self.config, self.options = folder, config, options
        self.method = config.method(SET, METHOD)
        self.weights = make_weights(folder, config, options.weights)
        self.manifest, self.statistics = folder / "manifest.json", folder / "statistics.npz"
        self.threads = threads.available()

    def all(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Names and functions, in their order."""
        yield "manifest", self.scan
        yield "bank: whole, train", partial(self.extract, "train", "whole")
        yield "bank: whole, val", partial(self.extract, "val", "whole")
        if "multicrop" in self.method.traits.recipes:
            yield "bank: crops, train", partial(self.extract, "train", "multicrop")
        yield "statistics", partial(compute_statistics, self.bank("train", "whole"), self.statistics)
        yield "truth", self.decode
        for seed in self.options.seeds:
            yield f"training, seed {seed}", partial(self.train, seed)
        yield "prediction", self.predict
        if find_spec("faiss"):
            yield "segment clusters", self.cluster
        yield "counts", self.count

    def bank(self, split: str, recipe: str) -> Path:
        """Pointer of a bank."""
        return self.folder / f"{split}-{recipe}.json"

    def run(self, seed: int) -> Path:
        """Folder of what a seed makes."""
        return self.folder / f"seed{seed}"

    def scan(self) -> None:
        """Decode every file."""
        spec = make_spec(SET, "folder", self.folder / "set", classes=list(self.config.spec(SET).classes))
        scan(spec, self.threads).save(self.manifest)

    def extract(self, split: str, recipe: str) -> None:
        """Fill a bank and join its shards."""
        options, extraction = self.options, self.config.of(SET)["extract"]
        whole = {key: value for key, value in self.config.recipe(SET, "whole").items() if key != "shift"}
        settings = ExtractSettings(
            *stored_as(recipe, self.config.recipe(SET, recipe)),
            options.precision or ("bfloat16" if torch.cuda.is_available() else "float32"),
            options.dtype,
            extraction["images_per_shard"],
            extraction["batch_tokens"],
            CodingSettings("train", whole) if options.dtype == "int8" else None,
        )
        spec, part = self.config.backbone(ENCODER), self.folder / f"{split}-{recipe}-part.json"
        files = (self.manifest, split, spec, *self.weights, settings, self.folder / "bank", part)
        extract(ExtractJob(*files, threads=self.threads))
        finish([part], self.manifest, self.bank(split, recipe))

    def decode(self) -> None:
        """Decode the labels that are compared."""
        asked = Asked(self.config.of(SET)["preprocessing"], "class", open_bank(self.bank("val", "whole")).input_size)
        make_truth(Manifest.load(self.manifest), "val", asked, self.folder / "truth.npz", self.threads)

    def _shared(self, seed: int) -> dict[str, Any]:
        settings = {"settings": self.method.settings, "statistics": self.statistics, "threads": self.threads}
        return {"folder": self.method.folder, "seed": seed, **settings}

    def train(self, seed: int) -> None:
        """Train a head."""
        banks = {recipe: self.bank("train", recipe) for recipe in self.method.traits.recipes}
        files = TrainingFiles.below(self.run(seed))
        run_train(TrainJob(banks=banks, files=files, state_root=self.folder / "state", **self._shared(seed)))

    def predict(self) -> None:
        """Segments of both splits, of every seed."""
        for seed in self.options.seeds:
            names = {"row": METHOD, "dataset": SET, "checkpoint": TrainingFiles.below(self.run(seed)).checkpoint}
            for split in ("train", "val"):
                out, banks = self.run(seed) / f"{split}.h5", {"whole": self.bank(split, "whole")}
                run_predict(PredictJob(banks=banks, split=split, out=out, **names, **self._shared(seed)))

    def cluster(self) -> None:
        """Clusters of the segments, of every seed."""
        settings = SegmentClusterSettings.parse(self.config.shared(SET))
        for seed in self.options.seeds:
            files = [
                path
                for split in ("train", "val")
                for path in (self.bank(split, "whole"), self.run(seed) / f"{split}.h5")
            ]
            cluster_segments(*files, self.statistics, settings, seed, self.run(seed) / "clusters.npz")

    def count(self) -> None:
        """Counts of the scored split, of every seed."""
        manifest, preprocessing = Manifest.load(self.manifest), self.config.of(SET)["preprocessing"]
        with Truth(self.folder / "truth.npz") as truth:
            for seed in self.options.seeds:
                files = (self.run(seed) / "val.h5", manifest, self.run(seed) / "counts.npz")
                count_predictions(*files, preprocessing, self.threads, truth)


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--draws", type=int, default=4, help="of crops")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--tokens-from", choices=["crops", "whole"], default="crops", help="what heads are trained on")
    parser.add_argument("--dtype", choices=["float16", "int8"], default="float16", help="of stored tokens")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--weights", type=Path, help=f"of {ENCODER}")
    parser.add_argument("--work", type=Path, help="folder on the disk that takes the banks; it is emptied afterwards")
    options = parser.parse_args()
    if find_spec("faiss") is None:
        print("faiss is not installed: segment clusters, which need it, are left out here and in the sum.")
    head = {"epochs": options.epochs, "tokens_from": options.tokens_from}
    config = read_config((), {"methods": {METHOD: head}, "recipes": {"multicrop": {"draws": options.draws}}})
    with tempfile.TemporaryDirectory(prefix="bench-coco-", dir=options.work) as name:
        folder = Path(name)
        tokens = WHOLE + (options.draws * CROPS if options.tokens_from == "crops" else 0)
        needed = options.images * (JPEG + tokens / (2 if options.dtype == "int8" else 1))
        try:
            check_space(folder, int(needed), "lower --images or --draws, take --dtype int8, or name another --work")
        except UserError as error:
            parser.error(str(error))
        size = make_set(folder / "set", options.images, len(config.spec(SET).classes))
        spent: dict[str, float] = {}
        for stage, function in Stages(folder, config, options).all():
            begin = time.perf_counter()
            function()
            spent[stage] = time.perf_counter() - begin
            print(f"{stage}: {spent[stage]:.1f} s", flush=True)
    total = sum(spent.values())
    print(machine())
    how = f"heads on {options.tokens_from}, {options.draws} draws, {options.dtype}"
    print(f"{options.images} JPEGs of {WIDTH}x{HEIGHT}, {size:.0f} kB each; {how}")
    for stage, seconds in spent.items():
        print(f"{stage:20s} {seconds:8.1f} s {100 * seconds / total:5.1f} %")
    print(f"{'all':20s} {total:8.1f} s, {1e3 * total / options.images:.1f} ms an image; bar: 180 s for 20,000")


if __name__ == "__main__":
    main()
