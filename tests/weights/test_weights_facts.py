"""The tables of timm's models and tags: what they say is what timm says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm_models import vit_names
from timm_tables import tag_facts as of_timm

from patchbank.config.load import default_config
from patchbank.files import read_json
from patchbank.weights import fetch
from patchbank.weights.facts import TAGS, _rows, model_facts, stated, tag_facts, tags_of
from patchbank.weights.spec import BackboneSpec

WRITES = "`python tests/timm_tables.py` writes the tables again"


def test_every_tag_of_a_readable_model_is_timms() -> None:
    rows = {row.pop("tag"): row for row in _rows(TAGS)}
    tags = {tag for name in vit_names() if model_facts(name) for tag in timm.list_pretrained(f"{name}.*")}
    assert set(rows) == tags, WRITES
    for tag, row in rows.items():
        assert row == {name: str(value) for name, value in of_timm(tag).items()}, f"{tag}: {WRITES}"


def test_the_depth_of_shipped_models_is_timms() -> None:
    config = default_config()
    small = {model for name in config.values["backbones"] if "small" in (model := config.backbone(name).model)}
    for model in sorted(small):
        told = model_facts(model)
        with torch.device("meta"):
            depth = len(timm.create_model(model).blocks)
        assert told is not None
        assert told.depth == depth


@pytest.mark.parametrize(
    ("model", "sources", "mean"),
    [
        ("vit_small_patch16_224", [{"kind": "hub", "tag": "vit_small_patch16_224.dino"}], (0.485, 0.456, 0.406)),
        (
            "vit_small_patch16_224",
            [{"kind": "file", "path": "x", "tag": "vit_small_patch16_224.augreg_in1k"}],
            (0.5,) * 3,
        ),
        ("vit_base_patch14_reg1_tipsv2", [{"kind": "file", "path": "x"}], (0.0,) * 3),
        ("vit_small_patch16_dinov3", [], (0.485, 0.456, 0.406)),
        ("vit_base_patch16_siglip_224", [], (0.5,) * 3),
    ],
)
def test_a_tag_says_the_normalisation_or_all_tags_that_agree(
    model: str, sources: list[dict[str, str]], mean: tuple[float, ...]
) -> None:
    found = stated(model, sources)
    assert found is not None
    assert found.mean == mean


def test_tags_that_disagree_say_nothing() -> None:
    assert stated("vit_large_patch16_dinov3", []) is None
    assert len(tags_of("vit_large_patch16_dinov3")) == 2
    assert stated("vit_nothing", []) is None
    assert stated("vit_small_patch16_224", [{"kind": "hub", "tag": "vit_nothing.at_all"}]) is None


def test_what_only_timm_knows_is_asked_of_it() -> None:
    found = tag_facts("convnext_tiny.fb_in22k")
    assert found is not None
    assert found.size == 224


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mean": (0.5, 0.5, 0.5)}, "mean is (0.5, 0.5, 0.5) in the configuration, timm says (0.485, 0.456, 0.406)"),
        ({"model": "eva02_small_patch14_224"}, "norm: true does nothing, because eva02_small_patch14_224 has no final"),
        ({}, ""),
    ],
)
def test_what_does_not_fit_the_weights_is_warned_about(
    changes: dict[str, Any],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spec = replace(BackboneSpec("own", "vit_small_patch16_dinov3", [{"kind": "file", "path": "x"}]), **changes)
    monkeypatch.setattr(fetch, "KINDS", {"file": lambda _source, _model: ({}, {"source": "x", "licence": "own"})})
    monkeypatch.setattr(fetch, "fit_to_model", lambda *_given: {"cls_token": torch.zeros(1)})
    fetch.fetch_weights(spec, tmp_path / "w.safetensors", tmp_path / "w.json")
    assert said in caplog.text
    assert bool(said) == bool([record for record in caplog.records if record.levelname == "WARNING"])
    record = read_json(tmp_path / "w.json")
    assert record["mean"] == list(spec.mean)
    assert record["input_size"] == (224 if "model" in changes else 256)
