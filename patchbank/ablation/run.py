"""One row of an ablation: training, predictions, segment clusters, counts and scores of all its seeds in one process.

The stages are those of the pipeline, called one after the other with files between them; a process for each of them and
each seed would spend more time on starting than on the work. Predictions and checkpoints are removed once they are
counted; what comparisons need stays. Any method will do: what its stages read and write its traits say.

Inputs: banks, statistics and manifest of the pipeline. Outputs: a folder with `seed<n>/counts.npz` and, for methods
that predict segments, `seed<n>/clusters.npz`, and a JSON file:

| key | meaning |
|---|---|
| `rows` | as in `scores.json` |
| `used` | mean number of segments that an image uses |
| `stability` | mean adjusted Rand index between the clusters (K = classes) of two k-means seeds; null with one seed |
| `train_seconds` | mean wall time of a training; null where nothing is trained |
| `bank_bytes` | size of the part of the banks that training reads |
| `threads` | CPU threads |

Stability is that of segments or, for a method that predicts classes, of patches. It needs no label: it says how clearly
they fall into clusters (von Luxburg 2010, Clustering Stability: An
Overview, https://arxiv.org/abs/1007.1075).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.clustering.agreement import agreement
from patchbank.datasets.manifest import Manifest
from patchbank.evaluation.count import count_predictions, summarise
from patchbank.evaluation.score import Scoring, context_of, score_method
from patchbank.evaluation.truth_file import Truth
from patchbank.files import read_npz, write_json
from patchbank.left_out import CannotBeMade
from patchbank.methods.contract import Method, draws_read, run_predict, run_train
from patchbank.methods.jobs import PredictJob, TrainingFiles, TrainJob
from patchbank.predictions import PredictionReader
from patchbank.progress import track
from patchbank.segments.cluster import cluster_segments
from patchbank.segments.settings import SegmentClusterSettings
from patchbank.variants import k_and_seed


@dataclass(frozen=True)
class Inputs:
    """What the pipeline made for one set.

    Attributes:
        manifest, statistics: of the set.
        truth: labels of the scored split (`patchbank.evaluation.truth_file`).
        training: recipe -> bank that training reads.
        fit: recipe -> bank of the split that segments' clusters are fitted on; empty for a method of classes.
        evaluation: recipe -> bank of the scored split.
        splits: names of those two splits.
        after: checkpoints of the row that trainings learn after, in the order of seeds; empty where they read none.
    """

    manifest: Path
    statistics: Path
    truth: Path
    training: Mapping[str, Path]
    fit: Mapping[str, Path]
    evaluation: Mapping[str, Path]
    splits: tuple[str, str]
    after: tuple[Path, ...] = ()


def run_row(
    method: Method,
    inputs: Inputs,
    clustering: SegmentClusterSettings,
    scoring: Scoring,
    folder: Path,
    out: Path,
    threads: int | None = None,
) -> None:
    """Compute one row.

    Args:
        method: the row.
        inputs: what to read.
        clustering: settings of the segment clusters, as of the pipeline.
        scoring: what all rows of the set are scored by.
        folder: where counts and clusters go.
        out: the JSON file.
        threads: CPU threads, default all.

    Raises:
        CannotBeMade: no pixel is labelled, or the method cannot be made of what is there.
    """
    manifest = Manifest.load(inputs.manifest)
    if not manifest.labelled:
        raise CannotBeMade(_unlabelled(manifest))
    row = _Row(method, inputs, clustering, scoring.preprocessing, folder, cpu_threads.limit(threads))
    seeds = track(method.seeds, method.name, "seed")
    runs = {seed: row.run(seed) for seed in seeds}
    counts = {seed: run.counts for seed, run in runs.items()}
    tables = {seed: run.clusters for seed, run in runs.items() if run.clusters}
    context = context_of(method, manifest.classes, scoring)
    used = [summarise(path)["used"] for path in counts.values()]
    if None in used:
        raise CannotBeMade(_unlabelled(manifest))
    stable = [run.stability for run in runs.values() if run.stability is not None]
    seconds = [run.seconds for run in runs.values() if run.seconds is not None]
    write_json(
        out,
        {
            "rows": score_method(counts, tables or None, context)["rows"],
            "used": float(np.mean(used)),
            "stability": float(np.mean(stable)) if stable else None,
            "train_seconds": float(np.mean(seconds)) if seconds else None,
            "bank_bytes": sum(_bank_bytes(path, method) for path in inputs.training.values()),
            "threads": row.threads,
        },
    )


def _unlabelled(manifest: Manifest) -> str:
    return (
        f"no pixel of split {manifest.eval_split!r} of {manifest.dataset} is labelled, and rows of ablations and "
        "sweeps are compared by scores; give some of its images masks, or choose another set."
    )


def stability(clusters: Path, k: int) -> float | None:
    """Mean adjusted Rand index over pairs of k-means seeds, between the clusters (asked K = `k`) of all segments."""
    arrays = read_npz(clusters)
    tables = [arrays[name] for name in map(str, arrays["tables"]) if k_and_seed(name)[0] == k]
    return agreement([table[table >= 0] for table in tables])


def patch_stability(prediction: Path, k: int) -> float | None:
    """The same between the classes (K = `k`) of all patches, for a method that predicts a variant a k-means seed."""
    with PredictionReader(prediction) as reader:
        names = [name for name in reader.variants if k_and_seed(name)[0] == k]
        return agreement([reader.labels(name, 0, len(reader.images)).ravel() for name in names])


@dataclass(frozen=True)
class _Run:
    """What one seed left; seconds are those of its training."""

    counts: Path
    clusters: Path | None
    stability: float | None
    seconds: float | None


@dataclass(frozen=True)
class _Row:
    """A row and what its seeds read."""

    method: Method
    inputs: Inputs
    clustering: SegmentClusterSettings
    preprocessing: str
    folder: Path
    threads: int

    def run(self, seed: int) -> _Run:
        """All stages of one seed."""
        folder, k = self.folder / f"seed{seed}", self.clustering.k[0]
        work = folder / "work"
        work.mkdir(parents=True, exist_ok=True)
        traits, given = self.method.traits, self.inputs
        checkpoint, seconds = self._train(seed, folder, work) if traits.trained else (None, None)
        predicted = self._predict(seed, checkpoint, given.evaluation, given.splits[1], work / "eval.h5")
        clusters = None
        if traits.kind == "segments":
            fitted = self._predict(seed, checkpoint, given.fit, given.splits[0], work / "fit.h5")
            clusters = folder / "clusters.npz"
            banks = (given.fit["whole"], fitted, given.evaluation["whole"], predicted)
            cluster_segments(*banks, given.statistics, self.clustering, seed, clusters)
        stable = stability(clusters, k) if clusters else patch_stability(predicted, k)
        manifest = Manifest.load(given.manifest)
        origin = {"method": self.method.name, "kind": traits.kind, "seed": seed}
        origin["settings"] = self.method.settings
        out = folder / "counts.npz"
        with Truth(given.truth) as truth:
            count_predictions(predicted, manifest, out, self.preprocessing, self.threads, truth, origin=origin)
        shutil.rmtree(work)
        return _Run(folder / "counts.npz", clusters, stable, seconds)

    @property
    def _labels(self) -> Path | None:
        return self.inputs.manifest if self.method.traits.oracle else None

    def _train(self, seed: int, folder: Path, work: Path) -> tuple[Path, float]:
        """Train; the checkpoint, and how long it took."""
        started, checkpoint = time.perf_counter(), work / "checkpoint.safetensors"
        after = dict(zip(self.method.seeds, self.inputs.after, strict=True)) if self.inputs.after else {}
        run_train(
            TrainJob(
                folder=self.method.folder,
                banks=self.inputs.training,
                statistics=self.inputs.statistics,
                settings=self.method.settings,
                seed=seed,
                files=TrainingFiles(checkpoint, folder / "steps.csv", folder / "epochs.csv"),
                state_root=work / "state",
                after=after.get(seed),
                manifest=self._labels,
                threads=self.threads,
            )
        )
        return checkpoint, time.perf_counter() - started

    def _predict(self, seed: int, checkpoint: Path | None, banks: Mapping[str, Path], split: str, out: Path) -> Path:
        run_predict(
            PredictJob(
                folder=self.method.folder,
                row=self.method.name,
                banks={recipe: banks[recipe] for recipe in self.method.traits.reads},
                statistics=self.inputs.statistics,
                settings=self.method.settings,
                seed=seed,
                dataset=Manifest.load(self.inputs.manifest).dataset,
                split=split,
                out=out,
                checkpoint=checkpoint,
                manifest=self._labels,
                threads=self.threads,
            )
        )
        return out


def _bank_bytes(path: Path, method: Method) -> int:
    """Bytes of a training bank's shards, of as many draws as are read."""
    bank = open_bank(path)
    size = sum(shard.stat().st_size for shard in bank.folder.glob("[0-9]*.h5"))
    return size * draws_read(method.folder, method.settings, bank.draws) // bank.draws
