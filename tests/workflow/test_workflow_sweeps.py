"""Sweeps and the suggested number of clusters through the real Snakefile: a small set, a folder without labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from workflow_tools import TINY, Project

from patchbank.config.schema import merge

pytestmark = pytest.mark.exhaustive
FEW: dict[str, Any] = {
    "methods": {"alignseg": None},
    "floors": [],
    "ceilings": [],
    "gallery": 0,
    "criteria": {"sample": 2000, "repeats": 2},
    "sweep": {"blocks": [1, "last"], "methods": {"kmeans": {}}, "beside": ["image-kmeans-3"]},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("sweep") / "p", merge(TINY, FEW), forks=True)


def test_a_sweep_of_a_labelled_set(project: Project) -> None:
    project.done("sweep_demo", "--config", "criteria={mirrored: true}")
    results = project.folder / "results" / "demo"
    content = json.loads((results / "sweep.json").read_text())
    assert [encoder["name"] for encoder in content["encoders"]] == ["tiny-b1", "tiny-last"]
    assert content["rows"] == ["kmeans", "image-kmeans-3"]
    assert "mirrored" in content["criteria"]
    for encoder in content["encoders"]:
        assert all(score["low"] <= score["value"] <= score["high"] for score in encoder["scores"].values())
    assert "<svg" in (results / "sweep.html").read_text()
    assert not (results / "sweep" / "tiny-b1" / "manifest.json").exists()
    assert project.planned("sweep_demo", "--config", "criteria={mirrored: true}") == {}
    file = "patchbank/criteria/silhouette.py"
    project.edit(file, "BLOCK = 1024", "BLOCK = 512")
    assert project.planned("sweep_demo", "--config", "criteria={mirrored: true}") == {
        "criteria": 2,
        "sweep": 1,
        "sweep_demo": 1,
    }
    project.edit(file, "BLOCK = 512", "BLOCK = 1024")


def test_a_folder_takes_the_suggested_number_of_clusters(project: Project, tmp_path: Path) -> None:
    """Its rows have that K, the page says what it rests on, and other candidates make all of it again."""
    rng = np.random.default_rng(0)
    for index in range(6):
        small = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((120, 100)).save(tmp_path / f"{index}.png")
    asked = ("eval_mine", "--config", f"folder={tmp_path}", "backbone=tiny")
    auto = "clustering={k: auto, k_candidates: [2, 4]}"
    project.done(*asked, auto)
    results = project.folder / "results" / "mine"
    suggested = json.loads((results / "k.json").read_text())["suggested"]
    assert suggested in (2, 4)
    record = json.loads((results / "kmeans" / "seed0" / "checkpoint.json").read_text())
    assert record["settings"]["k"][0] == suggested
    assert f"Suggested: {suggested} clusters" in (results / "index.html").read_text()
    assert project.planned(*asked, auto) == {}
    assert "train" in project.planned(*asked, "clustering={k: 3}")
    again = project.planned(*asked, "clustering={k: auto, k_candidates: [3]}")
    assert again["k_chart"] == 1
    project.done(*asked, "clustering={k: auto, k_candidates: [3]}")
    record = json.loads((results / "kmeans" / "seed0" / "checkpoint.json").read_text())
    assert record["settings"]["k"][0] == 3
    project.done("sweep_mine", *asked[1:], auto)
    content = json.loads((results / "sweep.json").read_text())
    assert content["rows"] == []
    assert set(content["choices"].values()) <= {"tiny-b1", "tiny-last"}
