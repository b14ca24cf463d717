"""One row of an ablation: training, predictions, segment clusters, counts and scores of all its seeds in one process.

The stages are those of the pipeline, called one after the other with files between them; a process for each of them and
each seed would spend more time on starting than on the work. Predictions and checkpoints are removed once they are
counted; what comparisons need stays.

Inputs: banks, statistics and manifest of the pipeline. Outputs: a folder with `seed<n>/counts.npz` and
`seed<n>/clusters.npz`, and a JSON file:

| key | meaning |
|---|---|
| `rows` | as in `scores.json` |
| `used` | mean number of segments that an image uses |
| `stability` | mean adjusted Rand index between the segment clusters (K = classes) of two k-means seeds |
| `train_seconds` | mean wall time of a training; null where nothing is trained |
| `bank_bytes` | size of the part of the banks that training reads |
| `threads` | CPU threads |

Stability needs no label: it says how clearly segments fall into clusters (von Luxburg 2010, Clustering Stability: An
Overview, https://arxiv.org/abs/1007.1075).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.datasets.manifest import Manifest
from patchbank.evaluation.count import count_predictions, summarise
from patchbank.evaluation.measures import adjusted_rand
from patchbank.evaluation.score import context_of, score_method
from patchbank.files import read_npz, write_json
from patchbank.methods.contract import draws_read, run_predict, run_train
from patchbank.methods.jobs import PredictJob, TrainingFiles, TrainJob
from patchbank.progress import track
from patchbank.segments.cluster import SegmentClusterSettings, cluster_segments


@dataclass(frozen=True)
class Inputs:
    """What the pipeline made for one set.

    Attributes:
        manifest, statistics: of the set.
        training: recipe -> bank that training reads.
        fit, evaluation: `whole` banks of the split that clusters are fitted on, and of the scored one.
        splits: names of those two splits.
    """

    manifest: Path
    statistics: Path
    training: Mapping[str, Path]
    fit: Path
    evaluation: Path
    splits: tuple[str, str]


def run_row(
    method: Mapping[str, Any],
    inputs: Inputs,
    clustering: Mapping[str, Any],
    scoring: Mapping[str, Any],
    folder: Path,
    out: Path,
    threads: int | None = None,
) -> None:
    """Compute one row; a row that predicts segments is asked for, and nothing else.

    Args:
        method: `patchbank.methods.contract.Method` as plain values.
        inputs: what to read.
        clustering: settings of the segment clusters, as of the pipeline.
        scoring: arguments of `patchbank.evaluation.score.context_of`.
        folder: where counts and clusters go.
        out: the JSON file.
        threads: CPU threads, default all.
    """
    used_threads = cpu_threads.limit(threads)
    manifest = Manifest.load(inputs.manifest)
    seconds: list[float] = []
    for seed in track(method["seeds"], method["name"], "seed"):
        seconds += _run_seed(method, inputs, clustering, scoring["preprocessing"], manifest, seed, folder, used_threads)
    counts = {seed: folder / f"seed{seed}" / "counts.npz" for seed in method["seeds"]}
    tables = {seed: folder / f"seed{seed}" / "clusters.npz" for seed in method["seeds"]}
    context = context_of(method, manifest.classes, **scoring)
    used = [summarise(path)["used"] for path in counts.values()]
    write_json(
        out,
        {
            "rows": score_method(counts, tables, context)["rows"],
            "used": float(np.mean(used)),
            "stability": float(np.mean([stability(path, clustering["k"][0]) for path in tables.values()])),
            "train_seconds": float(np.mean(seconds)) if seconds else None,
            "bank_bytes": sum(_bank_bytes(path, method) for path in inputs.training.values()),
            "threads": used_threads,
        },
    )


def stability(clusters: Path, k: int) -> float:
    """Mean adjusted Rand index over pairs of k-means seeds, between the clusters (asked K = `k`) of all segments."""
    arrays = read_npz(clusters)
    tables = [arrays[str(name)] for name in arrays["tables"] if str(name).startswith(f"k{k}-")]
    labels = [table[table >= 0] for table in tables]
    found = []
    for a, b in combinations(labels, 2):
        together = np.zeros((int(a.max()) + 1, int(b.max()) + 1), np.int64)
        np.add.at(together, (a, b), 1)
        found.append(adjusted_rand(together))
    return float(np.mean(found)) if found else 1.0


def _run_seed(
    method: Mapping[str, Any],
    inputs: Inputs,
    clustering: Mapping[str, Any],
    preprocessing: str,
    manifest: Manifest,
    seed: int,
    folder: Path,
    threads: int,
) -> list[float]:
    """All stages of one seed; returns the seconds of its training, if there is one."""
    place, work = folder / f"seed{seed}", folder / f"seed{seed}" / "work"
    work.mkdir(parents=True, exist_ok=True)
    checkpoint, seconds = None, []
    if method["traits"]["trained"]:
        checkpoint, started = work / "checkpoint.safetensors", time.perf_counter()
        run_train(
            TrainJob(
                folder=method["folder"],
                banks=inputs.training,
                statistics=inputs.statistics,
                settings=method["settings"],
                seed=seed,
                files=TrainingFiles(checkpoint, place / "steps.csv", place / "epochs.csv"),
                state_root=work / "state",
                threads=threads,
            )
        )
        seconds.append(time.perf_counter() - started)
    predictions = [work / f"{role}.h5" for role in ("fit", "eval")]
    for bank, split, out in zip((inputs.fit, inputs.evaluation), inputs.splits, predictions, strict=True):
        run_predict(
            PredictJob(
                folder=method["folder"],
                row=method["name"],
                banks={"whole": bank},
                statistics=inputs.statistics,
                settings=method["settings"],
                seed=seed,
                dataset=manifest.dataset,
                split=split,
                out=out,
                checkpoint=checkpoint,
                threads=threads,
            )
        )
    cluster_segments(
        inputs.fit,
        predictions[0],
        inputs.evaluation,
        predictions[1],
        inputs.statistics,
        SegmentClusterSettings.parse(clustering),
        seed,
        place / "clusters.npz",
    )
    count_predictions(predictions[1], manifest, place / "counts.npz", preprocessing, workers=threads)
    shutil.rmtree(work)
    return seconds


def _bank_bytes(path: Path, method: Mapping[str, Any]) -> int:
    """Bytes of a training bank's shards, of as many draws as are read."""
    bank = open_bank(path)
    size = sum(shard.stat().st_size for shard in bank.folder.glob("[0-9]*.h5"))
    return size * draws_read(method["folder"], method["settings"], bank.draws) // bank.draws
