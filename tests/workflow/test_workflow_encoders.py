"""Encoders with rotary positions through the real Snakefile: AlignSeg and TransFGU on a small set, random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm_models import randomise
from workflow_tools import TINY, Project

from patchbank import open_bank
from patchbank.config.schema import merge
from patchbank.weights.model import build_model

pytestmark = pytest.mark.exhaustive
MODELS = {"dinov3_vits16": "vit_small_patch16_dinov3", "pe_spatial_s16": "vit_pe_spatial_small_patch16_512"}
TRAINED: dict[str, Any] = {"epochs": 2, "batch_size": 4, "checkpoint_every": 1}
SIMILAR = {"pseudo_label": "token_similarity", "pca": 16, "niter": 5, "centre": "mean", "teacher_start": 1}
CHANGES: dict[str, Any] = {
    "recipes": {"whole": {"size": 64}, "multicrop": {"size": 48}, "augmented": {"size": 64, "draws": 1}},
    "floors": ["image-kmeans"],
    "ceilings": ["incontext-knn-m10240-b0.02"],
    "gallery": 0,
    "methods": {"alignseg": {"hidden": 64, "metric_dims": 16}, "transfgu": {**TRAINED, **SIMILAR}},
    "datasets": {
        "demo": {
            "generated": {"train": 8, "val": 4, "size": 96},
            "settings": {"methods": {"alignseg": {**TRAINED, "postprocess": []}}},
        }
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_methods_run_end_to_end(name: str, tmp_path: Path) -> None:
    entry = {"backbones": {name: {"file": "random.safetensors"}}, "datasets": {"demo": {"backbone": name}}}
    project = Project(tmp_path / "p", merge(merge(TINY, CHANGES), entry), forks=True)
    model = build_model(MODELS[name])
    torch.manual_seed(0)
    randomise(model)
    save_file(model.state_dict(), project.folder / "random.safetensors")
    project.done("eval_demo")
    results = project.folder / "results" / "demo"
    rows = {row["method"]: row for row in json.loads((results / "report.json").read_text())["rows"]}
    assert {"alignseg", "transfgu", "kmeans"} <= rows.keys()
    knn = rows["incontext-knn-m10240-b0.02"]
    assert (knn["ceiling"], knn["oracle"]) == (True, "train")
    assert "incontext-knn-m10240-b0.02 (oracle: train)" in (results / "report.md").read_text()
    bank = open_bank(results / "bank" / "train-whole.json")
    assert bank.grid == (4, 4)
    assert bank.record["backbone"]["model"] == MODELS[name]
    spread = bank.read([0], ("tokens",))["tokens"][0, 0].std(0).max()
    assert spread > 0
