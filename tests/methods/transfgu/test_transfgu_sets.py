"""The eight settings files end to end, a few steps each, with the real ViT-S/14 on real samples.

Sizes are cut (the longer side to 224 pixels, one window scale, at most 2 epochs); shapes, classes, background channel,
selection of windows, resizing, label maps, protocol and teacher schedule are those of the files. VOC, of which there is
no sample, stands on a made tree in its layout.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trees
import yaml
from jobs import predict_job, train_job

from patchbank.bank.extract import ExtractJob, ExtractSettings, extract
from patchbank.bank.finish import finish
from patchbank.bank.statistics import compute_statistics
from patchbank.config.config import Config
from patchbank.config.load import checked, default_config
from patchbank.config.schema import merge
from patchbank.datasets import Manifest
from patchbank.datasets.scan import scan
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.score import ScoreContext, score_method
from patchbank.files import write_json
from patchbank.methods.contract import run_predict, run_train
from patchbank.views.bounds import stored_as
from patchbank.weights.spec import BackboneSpec

pytestmark = pytest.mark.exhaustive
BACKBONE = "dinov2_vits14_saliency"
FILES = Path(__file__).parents[3] / "workflow" / "settings"


@dataclass(frozen=True)
class Case:
    """A settings file on a sample: its set, the sample's folder, changes of the entry, one window scale, K."""

    file: str
    dataset: str
    sample: str
    changes: dict[str, Any]
    scale: float
    classes: int


CASES = [
    Case("voc", "voc", "", {}, 0.4, 21),
    Case("coco27", "coco27", "coco_stuff_sample", {"images": "all"}, 0.2, 27),
    Case("coco171", "coco171", "coco_stuff_sample", {"images": "all"}, 0.2, 171),
    Case("coco80", "coco80", "coco_stuff_sample", {"images": "all"}, 0.2, 81),
    Case("cityscapes", "cityscapes27", "cityscapes_sample", {"eval_split": "train"}, 0.4, 27),
    Case("lip5", "lip5", "lip_sample", {}, 0.4, 6),
    Case("lip16", "lip16", "lip_sample", {}, 0.4, 17),
    Case("lip19", "lip19", "lip_sample", {}, 0.4, 20),
]


def config_of(case: Case, root: Path) -> Config:
    """The settings file over the shipped configuration, cut to a few steps."""
    published = yaml.safe_load((FILES / f"transfgu_{case.file}.yaml").read_text())
    sizes = {
        recipe: np.array(settings["size"])
        for recipe, settings in published["datasets"][case.dataset]["settings"]["recipes"].items()
    }
    small: dict[str, dict[str, Any]] = {
        recipe: {"size": (size * 224 // sizes["whole"].max()).tolist()} for recipe, size in sizes.items()
    }
    small["windows"] |= {"window": 112, "scales": [case.scale]}
    few = {"epochs": 2, "batch_size": 3, "repeat": 0, "teacher_start": 1, "teacher_interval": [1], "niter": 10}
    entry = {
        "root": str(root),
        "backbone": BACKBONE,
        **case.changes,
        "settings": {"recipes": small, "methods": {"transfgu": few}},
    }
    return checked(merge(merge(default_config().values, published), {"datasets": {case.dataset: entry}}))


def bank_of(config: Config, case: Case, recipe: str, split: str, weights: Path, folder: Path) -> Path:
    """Pointer of a bank of the split, extracted as the rule does."""
    settings = ExtractSettings(*stored_as(recipe, config.recipe(case.dataset, recipe)))
    part, pointer = folder / f"{split}-{recipe}.part.json", folder / f"{split}-{recipe}.json"
    spec = BackboneSpec(**vars(config.backbone(BACKBONE)))
    provenance = weights.with_suffix(".json")
    extract(ExtractJob(folder / "manifest.json", split, spec, weights, provenance, settings, folder / "bank", part))
    finish([part], folder / "manifest.json", pointer)
    return pointer


@pytest.mark.parametrize("case", CASES, ids=[case.file for case in CASES])
def test_every_settings_file_runs_end_to_end(case: Case, request: Any, saliency_weights: Path, tmp_path: Path) -> None:
    if case.sample:
        root = request.getfixturevalue("real_data") / case.sample
    else:
        root = tmp_path / "data"
        trees.voc_archive(root)
    config = config_of(case, root)
    scan(config.spec(case.dataset), workers=1).save(tmp_path / "manifest.json")
    manifest = Manifest.load(tmp_path / "manifest.json")
    (method,) = (m for m in config.methods(case.dataset) if m.name == "transfgu")
    banks = {
        recipe: bank_of(config, case, recipe, manifest.train_split, saliency_weights, tmp_path)
        for recipe in (*method.traits.recipes, "whole")
    }
    compute_statistics(banks["whole"], tmp_path / "statistics.npz")
    checkpoint = tmp_path / "checkpoint.safetensors"
    common = {"statistics": tmp_path / "statistics.npz", "settings": method.settings, "threads": None}
    given = {recipe: banks[recipe] for recipe in method.traits.recipes}
    run_train(train_job("transfgu", tmp_path, banks=given, **common))
    steps = [line.split(",") for line in (tmp_path / "steps.csv").read_text().splitlines()]
    assert len(steps) > 2
    assert np.isfinite(np.array(steps[1:], dtype=float)).all()
    record = json.loads(checkpoint.with_suffix(".json").read_text())
    assert len(record["members"]) == case.classes - record["settings"]["background"]
    assert min(record["members"]) > 0
    assert record["restarts"] == [1]
    same = manifest.eval_split == manifest.train_split
    whole = banks["whole"] if same else bank_of(
        config, case, "whole", manifest.eval_split, saliency_weights, tmp_path
    )  # fmt: skip
    names = {"dataset": case.dataset, "split": manifest.eval_split, "checkpoint": checkpoint}
    run_predict(predict_job("transfgu", tmp_path / "p.h5", banks={"whole": whole}, **names, **common))
    preprocessing = config.of(case.dataset)["preprocessing"]
    assert preprocessing == "squash_320"
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "counts.npz", preprocessing, workers=1)
    context = ScoreContext(
        case.dataset, "transfgu", "classes", manifest.classes, preprocessing, "train", {}, True, False, None,
        ("hungarian",), case.classes,
    )  # fmt: skip
    write_json(tmp_path / "scores.json", score_method({0: tmp_path / "counts.npz"}, None, context))
    (row,) = json.loads((tmp_path / "scores.json").read_text())["rows"]
    assert row["k"] == case.classes == len(manifest.classes)
    assert 0 < row["accuracy"]["mean"] <= 100
