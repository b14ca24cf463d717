"""The generic settings file through the real Snakefile, on a small demo set with a tiny random encoder."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from workflow_tools import TINY, Project

from patchbank import open_bank
from patchbank.bank.verify import verify_bank
from patchbank.config.schema import merge

pytestmark = pytest.mark.exhaustive
SMALL: dict[str, Any] = {"epochs": 4, "batch_size": 6, "niter": 5, "checkpoint_every": 1}
CHANGES = {
    "datasets": {
        "demo": {
            "settings": {
                "recipes": {
                    "windows": {"size": 112, "window": 48, "scales": [0.6, 0.4]},
                    "lastblock": {"size": 112},
                    "augmented": {"size": 112},
                },
                "methods": {
                    "alignseg": None,
                    "transfgu": SMALL,
                    "transfgu-tokens": {**SMALL, "pca": 16},
                    "transfgu-tokens-maps": {"pca": 16},
                },
                "floors": ["image-kmeans"],
                "ceilings": [],
            }
        }
    }
}
FILE = ("--configfile", "workflow/settings/transfgu_generic.yaml")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project") / "p", merge(TINY, CHANGES), forks=True)
    project.done("eval_demo", *FILE)
    return project


def test_both_rows_stand_in_the_report_beside_their_floor(finished: Project) -> None:
    results = finished.folder / "results" / "demo"
    report = json.loads((results / "report.json").read_text())
    rows = {row["method"]: row for row in report["rows"] if row["protocol"] == "hungarian"}
    assert {"transfgu", "transfgu-maps", "transfgu-tokens", "transfgu-tokens-maps", "kmeans"} <= set(rows)
    assert "alignseg" not in rows
    assert rows["transfgu"]["k"] == rows["kmeans"]["k"]
    for method in ("transfgu", "transfgu-tokens"):
        for picture in ("curves.png", "pictures.png"):
            assert (results / method / picture).is_file()
            assert f'src="{method}/{picture}"' in (results / "index.html").read_text()
            assert f"{method}/{picture}" in (results / "report.md").read_text()
    assert not (results / "transfgu-maps" / "pictures.png").exists()
    for recipe in ("windows", "lastblock", "augmented"):
        bank = open_bank(results / "bank" / f"train-{recipe}.json")
        assert verify_bank(bank.folder) == len(bank)
    inside = [row for row in report["rows"] if row["protocol"] == "per_image"]
    for row in inside:
        if row["method"].startswith("transfgu") and row["segments"] > 1:
            assert f"image-kmeans-{math.ceil(row['segments'])}" in {other["method"] for other in inside}
    record = json.loads((results / "transfgu" / "seed0" / "checkpoint.json").read_text())
    assert len(record["members"]) == rows["transfgu"]["k"]
    assert record["images_without_foreground"] == 0
    assert not list((finished.folder / "results" / ".training").iterdir())


def test_what_reruns_after_a_change(finished: Project) -> None:
    assert finished.planned("eval_demo", *FILE) == {}
    finished.edit("config.yaml", "epochs: 4", "epochs: 5")  # of the first row
    planned = finished.planned("eval_demo", *FILE)
    finished.edit("config.yaml", "epochs: 5", "epochs: 4")
    assert planned["train"] == 1
    assert not {"extract", "bank", "statistics"} & set(planned)
