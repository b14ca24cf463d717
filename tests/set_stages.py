"""A set from its tree to a report by the functions that the scripts call, with random predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.config.config import Config
from patchbank.config.load import checked, default_config
from patchbank.config.schema import merge
from patchbank.datasets import Manifest
from patchbank.datasets.scan import scan
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.score import ScoreContext, score_method
from patchbank.files import write_json
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.report.build import ReportContext, build_report
from patchbank.report.content import BackboneContext, Report
from patchbank.report.write import write_report

BACKBONE = BackboneContext("random", "none", 0, True, (448, 448), "float32", "0" * 64)


Maker = Callable[[Path], None]


def config_of(name: str, root: Path, changes: Mapping[str, Any]) -> Config:
    """The shipped configuration with one set's entry changed."""
    return checked(merge(default_config().values, {"datasets": {name: {"root": str(root), **changes}}}))


def through_the_stages(config: Config, name: str, folder: Path) -> tuple[Manifest, Report]:
    """Manifest, random predictions, counts, scores and report of one set, by the functions that the scripts call."""
    scan(config.spec(name), workers=1).save(folder / "manifest.json")
    manifest = Manifest.load(folder / "manifest.json")
    images = [entry.id for entry in manifest.entries(manifest.eval_split)]
    variant, k = "k5-s0", 5
    record = PredictionRecord(name, manifest.eval_split, "random", "classes", 0, "nearest", (448, 448))
    with PredictionWriter(folder / "p.h5", record, images, {variant: k}, (14, 14)) as writer:
        writer.write_scores(variant, 0, np.random.default_rng(0).normal(size=(len(images), k, 14, 14)))
    count_predictions(folder / "p.h5", manifest, folder / "counts.npz", "squash_448_100", workers=1)
    asked = ("hungarian", "per_image")
    context = ScoreContext(
        name, "random", "classes", manifest.classes, "squash_448_100", "train", {}, False, False, None, asked, k
    )
    write_json(folder / "scores.json", score_method({0: folder / "counts.npz"}, None, context))
    sizes = {"train": len(manifest.entries(manifest.train_split)), "eval": len(images)}
    about = ReportContext(name, manifest.classes, sizes, BACKBONE, "train", "squash_448_100", "0")
    report = build_report([folder / "scores.json"], about)
    write_report(report, [], folder / "report.json", folder / "report.md")
    return manifest, report
