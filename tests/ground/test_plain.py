"""Dataclasses as plain values and back, for every one that travels through params of rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from patchbank.config.load import default_config
from patchbank.datasets.spec import DatasetSpec
from patchbank.evaluation.score import Scoring
from patchbank.methods.contract import Method
from patchbank.plain import from_plain, to_plain
from patchbank.segments.settings import SegmentClusterSettings
from patchbank.weights.spec import BackboneSpec


def _builtin(value: object) -> bool:
    if isinstance(value, dict):
        return all(_builtin(entry) for entry in value.values())
    if isinstance(value, (list, tuple)):
        return all(_builtin(entry) for entry in value)
    return value is None or type(value) in (str, int, float, bool)


def test_every_configured_set_backbone_and_row_comes_back_as_it_was() -> None:
    config = default_config()
    for name in config.datasets:
        rows = [config.method(name, row) for row in ("alignseg", "kmeans", *config.standing(name), "voronoi-3")]
        for kind, value in [(DatasetSpec, config.spec(name)), *((Method, row) for row in rows)]:
            plain = to_plain(value)
            assert _builtin(plain)
            assert from_plain(kind, plain) == value
        for value in (SegmentClusterSettings.parse(config.shared(name)), Scoring(name, ("a",), "full", "val", 3)):
            assert from_plain(type(value), json.loads(json.dumps(to_plain(value)))) == value
    for name in config.values["backbones"]:
        spec = config.backbone(name)
        assert from_plain(BackboneSpec, to_plain(spec)) == spec


def test_paths_are_text_on_the_way_and_tuples_stay_tuples() -> None:
    spec = replace(default_config().spec("demo"), root=Path("a/b"))
    plain = to_plain(spec)
    assert plain["root"] == "a/b"
    assert isinstance(plain["classes"], tuple)
    back = from_plain(DatasetSpec, {**plain, "classes": list(plain["classes"])})
    assert (back.root, back.classes) == (Path("a/b"), spec.classes)


def test_fields_that_do_not_fit_are_refused() -> None:
    plain = to_plain(default_config().spec("demo"))
    with pytest.raises(TypeError, match="colour"):
        from_plain(DatasetSpec, {**plain, "colour": 1})
    with pytest.raises(TypeError, match="layout"):
        from_plain(DatasetSpec, {key: value for key, value in plain.items() if key != "layout"})
