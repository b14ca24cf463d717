"""A set drawn at random goes through the real pipeline to report and page: no number without a picture behind it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from random_trees import grow
from workflow_tools import TINY, Project

from patchbank.config.schema import merge
from patchbank.datasets import Manifest

SEED = 62
"""Three train and three val pictures in two classes, the smallest of one pixel."""
ROWS = {
    "methods": {"alignseg": None, "kmeans": {"sample": 1000}},
    "floors": ["single"],
    "ceilings": ["grid-majority"],
    "protocols": ["per_image", "hungarian"],
    "gallery": 3,
}


@pytest.mark.exhaustive
def test_a_random_set_has_a_report_and_a_page(tmp_path: Path) -> None:
    grown = grow(tmp_path / "set", random.Random(SEED))
    entry = {"layout": grown.layout, "root": str(grown.root), "classes": list(grown.classes), "backbone": "tiny"}
    changes = merge(TINY, {"datasets": {"odd": {**entry, "settings": ROWS}}})
    project = Project(tmp_path / "project", changes, forks=True)
    project.done("eval_odd")
    results = project.folder / "results" / "odd"
    manifest = Manifest.load(results / "manifest.json")
    check, report = (json.loads((results / name).read_text()) for name in ("check.json", "report.json"))
    counted = {split: len(entries) for split, entries in manifest.splits.items()}
    assert {split: found["images"] for split, found in check["splits"].items()} == counted == {"train": 3, "val": 3}
    assert min(entry.width * entry.height for entries in manifest.splits.values() for entry in entries) == 1
    assert {row["method"] for row in report["rows"]} == {"kmeans", "single", "grid-majority"}
    page, text = (results / "index.html").read_text(), (results / "report.md").read_text()
    assert all(note in text for note in check["notes"])
    for entry in manifest.entries("val"):
        assert Path(entry.image).name in page
