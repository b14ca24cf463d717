"""What taking directions of position out of tokens does to scores: rows with them and without, and the difference.

    python benchmarks/bench_positions.py --manifest results/SET/manifest.json --train BANK --val BANK [--shares 128 32]
        [--methods kmeans kmeans-whitened image-kmeans-5 linear-probe] [--seeds 3] [--kmeans-seeds 2]

The mean train token of every position of the patch grid, less the mean of all, shows what a token tells of its
position. Its strongest principal directions, width / share of them, are taken out of every token of both banks: x less
its part along them about the mean. Banks are `whole`; settings are those of `config.yaml`, clusters are fitted on
train. With ``--set KEY`` the settings of that set of the configuration are used. Differences are in points of mIoU with
the 95 % interval over images and trainings.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from timing import as_a_stage, machine

from patchbank import threads
from patchbank.ablation.run import Inputs, run_row
from patchbank.bank.reader import Bank, open_bank
from patchbank.config.load import read_config
from patchbank.datasets.manifest import Manifest
from patchbank.evaluation.compare import Compared, compare_methods
from patchbank.evaluation.score import Scoring, context_of
from patchbank.evaluation.truth_file import Asked, make_truth
from patchbank.files import read_json, write_npz
from patchbank.segments.settings import SegmentClusterSettings

PROTOCOLS = ("per_image", "per_image_hungarian", "hungarian", "hungarian_iou")
Floats = NDArray[np.float64]


def moments(bank: Bank) -> tuple[Floats, Floats, int]:
    """Mean token of every position (N, D), covariance (D, D) of all tokens, and their number."""
    means, products = np.zeros((bank.tokens_per_view, bank.dim)), np.zeros((bank.dim, bank.dim))
    for row in range(len(bank)):
        tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim).astype(np.float32)
        means += tokens
        products += tokens.T @ tokens
    means /= len(bank)
    mean, count = means.mean(0), len(bank) * bank.tokens_per_view
    return means, products / count - np.outer(mean, mean), count


def directions(means: Floats, count: int) -> Floats:
    """The strongest `count` principal directions (D, count) of the positions' means (N, D)."""
    vectors: Floats = np.linalg.svd(means - means.mean(0), full_matrices=False)[2][:count].T
    return vectors


@contextmanager
def without(mean: Floats, vectors: Floats) -> Iterator[None]:
    """Banks hand over float32 tokens without their parts along `vectors` (D, r) about `mean` (D,)."""
    stored, about, along = Bank.read, mean.astype(np.float32), vectors.astype(np.float32)

    def read(bank: Bank, *arguments: Any, **named: Any) -> dict[str, NDArray[Any]]:
        rows = stored(bank, *arguments, **named)
        if "tokens" in rows:
            tokens = rows["tokens"].astype(np.float32)
            rows["tokens"] = tokens - (tokens - about) @ along @ along.T
        return rows

    Bank.read = read  # type: ignore[method-assign]
    try:
        yield
    finally:
        Bank.read = stored  # type: ignore[method-assign]


def main() -> None:
    as_a_stage()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("manifest", "train", "val"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--set", dest="dataset", default="msrc")
    parser.add_argument("--shares", type=int, nargs="+", default=[128, 32])
    rows = ["kmeans", "kmeans-whitened", "image-kmeans-5", "linear-probe"]
    parser.add_argument("--methods", nargs="+", default=rows)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kmeans-seeds", type=int, default=2)
    arguments = parser.parse_args()
    print(machine(), flush=True)
    manifest, bank = Manifest.load(arguments.manifest), open_bank(arguments.train)
    means, covariance, count = moments(bank)
    mean, spread = means.mean(0), np.trace(covariance)
    shown = np.linalg.svd(means - mean, compute_uv=False) ** 2 / len(means) / spread
    held = f"means of positions hold {shown.sum():.1%} of the variance, the strongest {shown[:6].round(4)}"
    print(f"{manifest.dataset}: {held}")
    changes = {
        "seeds": list(range(arguments.seeds)),
        "kmeans_seeds": list(range(arguments.kmeans_seeds)),
        "clustering": {"overcluster": []},
        "protocols": list(PROTOCOLS),
        "methods": {"kmeans-whitened": {"kind": "kmeans", "whiten": True}},
    }
    config = read_config(changes=changes)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        evaluation, limit = open_bank(arguments.val), threads.available()
        asked = Asked("squash_448_100", "class", evaluation.input_size)
        make_truth(manifest, manifest.eval_split, asked, work / "truth.npz", limit)
        scoring = Scoring(manifest.dataset, PROTOCOLS, "squash_448_100", "train")
        k = {"k": [len(manifest.classes)]}
        clustering = SegmentClusterSettings.parse({**config.shared(arguments.dataset), **k})
        for name in arguments.methods:
            compared: list[Compared] = []
            method = config.method(arguments.dataset, name)
            method = replace(method, settings={**method.settings, **({} if name.startswith("image") else k)})
            for share in (0, *arguments.shares):
                vectors = directions(means, bank.dim // share) if share else np.empty((bank.dim, 0))
                kept = np.eye(bank.dim) - vectors @ vectors.T
                std = np.sqrt(np.diag(kept @ covariance @ kept).clip(0))
                arrays = {"mean": mean, "std": std, "count": np.array(count)}
                write_npz(work / "statistics.npz", arrays)
                row = f"{name}, {vectors.shape[1]} directions less"
                splits = (manifest.train_split, manifest.eval_split)
                banks = ({"whole": arguments.train}, {"whole": arguments.train}, {"whole": arguments.val})
                inputs = Inputs(arguments.manifest, work / "statistics.npz", work / "truth.npz", *banks, splits)
                named, out = replace(method, name=row), work / name / str(share)
                with without(mean, vectors):
                    run_row(named, inputs, clustering, scoring, out, out / "row.json")
                print_scores(row, read_json(out / "row.json")["rows"])
                context = replace(context_of(named, manifest.classes, scoring), floor=False, ceiling=False)
                files = [{seed: out / f"seed{seed}" / file for seed in method.seeds} for file in FILES]
                tables = files[1] if method.traits.kind == "segments" else None
                compared.insert(0, Compared(context, files[0], tables))
            print_differences(compare_methods(compared)["comparisons"], compared[-1].context.method)


FILES = ("counts.npz", "clusters.npz")


def print_scores(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One line a row."""
    scores = [f"{row['protocol']} {row['miou']['mean']:.1f}" for row in rows if row["variant"] in ("", "all", None)]
    print(f"  {name}: {', '.join(scores)}", flush=True)


def print_differences(comparisons: Sequence[Mapping[str, Any]], plain: str) -> None:
    """Differences to the row that is left as it is."""
    for one in comparisons:
        if one["b"] == plain and one["variant"] != "without_first":
            interval = f"{one['difference']:+.1f} ({one['low']:.1f} to {one['high']:.1f})"
            print(f"    {one['a']}: {one['protocol']} {one['variant']} {interval}", flush=True)


if __name__ == "__main__":
    main()
