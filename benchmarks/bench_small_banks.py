"""What small banks cost in points: int8 tokens and PCA directions against float16, on one real set.

    python benchmarks/bench_small_banks.py --train BANK --val BANK --manifest results/msrc/manifest.json --work DIR
        [--codings int8 pca128 pca128-int8 pca64] [--rows kmeans kmeans-whitened image-kmeans linear-probe alignseg]
        [--other NAME BANK BANK]

`BANK` are float16 banks of recipe `whole` (folder or pointer). Their tokens are coded as extraction does it, with a fit
on the sample of train that it takes; only are they read back from float16 first, whose error is a hundredth of an
int8 step. Every row is then trained, predicted, counted and scored on each bank by the pipeline's functions, k-means
with three seeds, and compared with itself on float16 over the same images: difference in points, 95 % interval
of the paired bootstrap over images; `other-seeds` is float16 with other seeds of k-means, the scatter of no change at
all. `--other` compares further banks of the same images and splits, such as dense ones.
Reading is timed in five paired rounds, until tokens are float32: 32 random images a batch.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from timing import as_a_stage, machine, paired, spread

from patchbank.ablation.run import Inputs, run_row
from patchbank.bank.coding import Coding
from patchbank.bank.coding_fit import IMAGES, chosen_tokens, described, fit
from patchbank.bank.format import content_hash, row_fields
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.record import coded
from patchbank.bank.settings import CodingSettings
from patchbank.bank.statistics import compute_statistics
from patchbank.bank.writer import ShardWriter
from patchbank.config.config import Config
from patchbank.config.load import read_config
from patchbank.datasets.manifest import Manifest
from patchbank.evaluation.compare import Compared, compare_methods
from patchbank.evaluation.score import Scoring, context_of
from patchbank.evaluation.truth_file import Asked, make_truth
from patchbank.files import read_json, write_json
from patchbank.segments.settings import SegmentClusterSettings

PROTOCOLS = ("per_image", "per_image_hungarian", "hungarian")
METHODS = {
    "kmeans": {},
    "kmeans-whitened": {"kind": "kmeans", "pca": 64, "whiten": True},
    "alignseg": {"tokens_from": "whole", "heads": 4, "epochs": 8},
}
BATCHES, BATCH = 20, 32


def coding_named(name: str, bank: Bank) -> tuple[Coding, str, int]:
    """``pca<K>``, ``int8``, ``pca<K>-int8``: what it means on the sample of a train bank; stored dtype; K."""
    parts = name.split("-")
    pca = next((int(part.removeprefix("pca")) for part in parts if part.startswith("pca")), 0)
    taken = []
    for row, image in enumerate(bank.images[:IMAGES]):
        tokens = bank.read([row], ("tokens",))["tokens"][0, 0]
        taken.append(tokens[chosen_tokens(image, len(tokens))].astype(np.float32))
    dtype = "int8" if "int8" in parts else "float16"
    return fit(np.concatenate(taken), pca, dtype == "int8"), dtype, pca


def derive(source: Bank, coding: Coding, dtype: str, pca: int, folder: Path) -> Path:
    """The same bank with coded tokens."""
    if (folder / "bank.json").is_file():
        return folder
    record = coded({**source.record, "dtype": dtype}, described(coding, CodingSettings("train", pca=pca)))
    for path in sorted(source.folder.glob("[0-9]*.h5")):
        with h5py.File(path, "r") as shard:
            names = [name for name in row_fields(source.record) if name != "image"]
            shapes = {name: (shard[name].shape[1:], shard[name].dtype) for name in names}
            shapes = coding.shapes(shapes, dtype)
            images = [image.decode() for image in shard["image"][:]]
            with ShardWriter(folder / path.name, content_hash(record), len(images), shapes, coding=coding) as writer:
                for row, image in enumerate(images):
                    fields = {name: shard[name][row : row + 1] for name in names}
                    writer.write([image], {**fields, "tokens": fields["tokens"].astype(np.float32)})
    write_json(folder / "bank.json", record)
    return folder


def clipped(source: Bank, coding: Coding) -> float:
    """Share of the numbers of some val tokens that lie beyond the last step."""
    import torch

    assert coding.step is not None
    tokens = source.read(np.arange(min(32, len(source))), ("tokens",))["tokens"].astype(np.float32)
    far = np.abs(coding.project(torch.from_numpy(tokens)).numpy() - coding.centre) > 127.5 * coding.step
    return float(far.mean())


def config_of(dataset: str, first: int = 0) -> Config:
    """The shipped configuration with the rows that are compared, and three seeds of k-means."""
    changes: dict[str, Any] = {"methods": METHODS, "kmeans_seeds": [first, first + 1, first + 2], "seeds": [0]}
    changes |= {"protocols": list(PROTOCOLS), "clustering": {"overcluster": []}}
    changes["datasets"] = {dataset: {"settings": {"protocols": list(PROTOCOLS)}}}
    return read_config((), changes)


def score(
    names: Sequence[str], config: Config, dataset: str, banks: Mapping[str, Path], common: tuple[Path, Path], out: Path
) -> dict[str, tuple[Compared, list[dict[str, Any]], float | None]]:
    """Rows on one bank: what comparisons read, the scores, seconds of training."""
    manifest, truth = common
    statistics = out / "statistics.npz"
    compute_statistics(banks["train"], statistics)
    k = config.clusters(dataset)[0]
    scoring = Scoring(dataset, PROTOCOLS, config.of(dataset)["preprocessing"], "train", k)
    done = {}
    for name in names:
        method = config.method(dataset, f"{name}-5" if name == "image-kmeans" else name)
        method = replace(method, seeds=method.seeds[:1])
        train, val = ({"whole": banks[split]} for split in ("train", "val"))
        fitted = train if method.traits.kind == "segments" else {}
        training = train if method.traits.trained else {}
        inputs = Inputs(manifest, statistics, truth, training, fitted, val, ("train", "val"))
        result = out / f"{name}.json"
        if not result.is_file():
            clustering = SegmentClusterSettings.parse(config.shared(dataset))
            run_row(method, inputs, clustering, scoring, out / name, result, None)
        context = replace(context_of(method, Manifest.load(manifest).classes, scoring), floor=False, ceiling=False)
        tables = {0: out / name / "seed0" / "clusters.npz"} if method.traits.kind == "segments" else None
        written = read_json(result)
        compared = Compared(replace(context, method=out.name), {0: out / name / "seed0" / "counts.npz"}, tables)
        done[name] = (compared, written["rows"], written["train_seconds"])
    return done


def reading(banks: Sequence[Bank]) -> list[str]:
    """Images a second of each bank until their tokens are float32, in paired rounds."""
    import torch

    rng = np.random.default_rng(0)
    batches = [np.sort(rng.choice(len(banks[0]), min(BATCH, len(banks[0])), replace=False)) for _ in range(BATCHES)]
    images = sum(map(len, batches))

    def read(bank: Bank) -> None:
        for batch in batches:
            torch.from_numpy(bank.read(batch, ("tokens",))["tokens"]).float()

    times = paired([lambda bank=bank: read(bank) for bank in banks], 5)
    return [spread([images / seconds for seconds in column], 0) for column in times]


def main() -> None:
    """Print a line a bank and a line a row, coding and protocol."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "val", "manifest", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--codings", nargs="*", default=["int8", "pca128", "pca128-int8", "pca64"])
    parser.add_argument("--rows", nargs="*", default=["kmeans", "kmeans-whitened", "image-kmeans", "linear-probe"])
    parser.add_argument("--other", nargs=3, action="append", default=[], metavar=("NAME", "TRAIN", "VAL"))
    options = parser.parse_args()
    print(machine())
    manifest = Manifest.load(options.manifest)
    config, sources = config_of(manifest.dataset), {"train": open_bank(options.train), "val": open_bank(options.val)}
    asked = Asked(config.of(manifest.dataset)["preprocessing"], "class", sources["val"].input_size)
    truth = options.work / "truth.npz"
    if not truth.is_file():
        make_truth(manifest, "val", asked, truth, 2)
    banks: dict[str, dict[str, Path]] = {"float16": {"train": options.train, "val": options.val}}
    for name in options.codings:
        coding, dtype, pca = coding_named(name, sources["train"])
        banks[name] = {
            split: derive(source, coding, dtype, pca, options.work / name / split) for split, source in sources.items()
        }
        if dtype == "int8":
            print(f"{name}: {clipped(sources['val'], coding):.1e} of the numbers of val lie beyond the last step")
    banks |= {name: {"train": Path(train), "val": Path(val)} for name, train, val in options.other}
    speeds = reading([open_bank(paths["train"]) for paths in banks.values()])
    for (name, paths), speed in zip(banks.items(), speeds, strict=True):
        folder = open_bank(paths["train"]).folder
        size = sum(file.stat().st_size for file in folder.glob("[0-9]*.h5")) / len(sources["train"])
        print(f"{name}: {size / 1000:.0f} kB an image, {speed} images/s read")
    done = {
        name: score(options.rows, config, manifest.dataset, paths, (options.manifest, truth), options.work / name)
        for name, paths in banks.items()
    }
    again = (options.manifest, truth), options.work / "other-seeds"
    done["other-seeds"] = score(
        options.rows, config_of(manifest.dataset, 3), manifest.dataset, banks["float16"], *again
    )
    others = [name for name in done if name != "float16"]
    print("row, protocol: float16 | " + " | ".join(others))
    for row in options.rows:
        found = compare_methods([done[name][row][0] for name in (*others, "float16")])["comparisons"]
        for protocol in PROTOCOLS:
            plain = next(r for r in done["float16"][row][1] if r["protocol"] == protocol)
            cells = [
                f"{one['difference']:+.2f} [{one['low']:+.2f}, {one['high']:+.2f}]"
                for one in found
                if (one["protocol"], one["b"]) == (protocol, "float16") and one["variant"] == plain["variant"]
            ]
            seconds = done["float16"][row][2]
            print(f"{row}, {protocol}: {plain['miou']['mean']:.2f} | " + " | ".join(cells), seconds or "")


if __name__ == "__main__":
    as_a_stage()
    main()
