"""The real Snakefile, end to end on a small demo set with a tiny random encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from workflow_tools import TINY, Project

from patchbank import open_bank
from patchbank.bank.verify import verify_bank


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after `snakemake all`."""
    project = Project(tmp_path_factory.mktemp("project") / "p", TINY, forks=True)
    project.done("all")
    return project


def test_all_makes_a_report_with_methods_floors_and_pictures(finished: Project) -> None:
    results = finished.folder / "results"
    report = json.loads((results / "demo" / "report.json").read_text())
    methods = {row["method"] for row in report["rows"]}
    assert {"alignseg", "kmeans", "single", "voronoi-5", "image-kmeans-5", "random-clusters"} <= methods
    assert {"alignseg+flip", "alignseg+pamr", "grid-majority", "linear-probe"} <= methods
    used = next(row["segments"] for row in report["rows"] if row["method"] == "alignseg")
    assert f"voronoi-{-int(-used // 1)}" in methods
    for protocol in ("per_image", "hungarian", "hungarian_iou", "overcluster"):
        rows = [row for row in report["rows"] if row["protocol"] == protocol]
        assert {row["method"] for row in rows} >= {"alignseg", "kmeans", "single"}
        assert all(0 <= row["miou"]["mean"] <= 100 for row in rows)
    pairs = {(entry["a"], entry["b"]) for entry in report["comparisons"]}
    assert {("alignseg", "kmeans"), ("alignseg", "single"), ("alignseg", "image-kmeans-5")} <= pairs
    assert ("alignseg", "alignseg+pamr") in pairs
    assert not {"grid-majority", "linear-probe"} & {name for pair in pairs for name in pair}
    assert {entry["protocol"] for entry in report["comparisons"]} == {row["protocol"] for row in report["rows"]}
    text = (results / "demo" / "report.md").read_text()
    assert "panel.png" in text
    assert "alignseg/curves.png" in text
    assert "demo" in (results / "summary.md").read_text()
    for name in ("panel", "sheet"):
        with Image.open(results / "demo" / f"{name}.png") as picture:
            assert picture.width > 600
    check = json.loads((results / "demo" / "check.json").read_text())
    assert {name: split["images"] for name, split in check["splits"].items()} == {"train": 12, "val": 6}
    assert "demo/index.html" in (results / "index.html").read_text()
    page = (results / "demo" / "index.html").read_text()
    shown = [path for name in ("gallery", "clusters") for path in (results / "demo" / name).glob("*.jpg")]
    assert len(shown) > 6 * 4
    assert all(f"{path.parent.name}/{path.name}" in page for path in shown)
    bank = open_bank(str(results / "demo" / "bank" / "train-multicrop.json"))
    assert (len(bank), bank.draws, bank.views) == (24, 2, 3)


@pytest.fixture(autouse=True)
def _inside(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.folder)


def test_a_second_run_does_nothing(finished: Project) -> None:
    assert "Nothing to be done" in finished.done("all")


def test_a_bank_of_the_pipeline_verifies(finished: Project) -> None:
    assert verify_bank("results/demo/bank/train-multicrop.json") == 24
    assert verify_bank("results/demo/bank/val-whole.json") == 6


def test_no_log_is_missing_and_nothing_is_left_half_written(finished: Project) -> None:
    logs = {path.name for path in Path("results/logs/demo").iterdir()}
    assert {"manifest.log", "extract-train-whole-0-of-1.log", "train-alignseg-seed0.log", "report.log"} <= logs
    assert not [path for path in Path("results").rglob("*.tmp*") if path.is_file()]
    assert not any(Path("results/.training").iterdir()) if Path("results/.training").exists() else True


def test_a_wrong_configuration_is_one_clear_error(finished: Project) -> None:
    result = finished.snakemake("-n", "all", "--config", "data_rot=x")
    assert result.returncode != 0
    assert "unknown key; did you mean 'data_root'" in result.stdout
    assert "Traceback" not in result.stdout
