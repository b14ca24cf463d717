"""The real Snakefile, end to end on a small demo set with a tiny random encoder; staleness, errors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from workflow_tools import TINY, Project

from patchbank import open_bank
from patchbank.bank.verify import verify_bank


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after `snakemake all`."""
    project = Project(tmp_path_factory.mktemp("project") / "p", TINY)
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


@pytest.mark.exhaustive
def test_another_preprocessing_counts_and_scores_again_and_runs_no_model(finished: Project) -> None:
    rows = json.loads(Path("results/demo/report.json").read_text())["rows"]
    asked = ("all", "--config", "score_at=[full,squash_448_100]")
    planned = finished.planned(*asked)
    methods = {row["method"] for row in rows}
    each = dict.fromkeys(("count", "score"), len(methods))
    assert planned == each | dict.fromkeys(("truth", "report", "page", "summary", "all"), 1)
    made = "results/demo/alignseg+pamr/scores-at-full.json"
    finished.done(made)
    own = [row for row in rows if row["method"] == "alignseg+pamr"]
    found = json.loads(Path(made).read_text())["rows"]
    assert {row["preprocessing"] for row in found} == {"full"}
    assert [(row["protocol"], row["variant"]) for row in found] == [(row["protocol"], row["variant"]) for row in own]
    assert [row["miou"] for row in found] != [row["miou"] for row in own]
    planned = finished.planned(*asked)
    assert (planned["count"], planned["score"]) == (len(methods) - 1, len(methods) - 1)


def test_a_bank_of_the_pipeline_verifies(finished: Project) -> None:
    assert verify_bank("results/demo/bank/train-multicrop.json") == 24
    assert verify_bank("results/demo/bank/val-whole.json") == 6


def test_no_log_is_missing_and_nothing_is_left_half_written(finished: Project) -> None:
    logs = {path.name for path in Path("results/logs/demo").iterdir()}
    assert {"manifest.log", "extract-train-whole-0-of-1.log", "train-alignseg-seed0.log", "report.log"} <= logs
    assert not [path for path in Path("results").rglob("*.tmp*") if path.is_file()]
    assert not any(Path("results/.training").iterdir()) if Path("results/.training").exists() else True


LATER = {
    *("train", "predict", "segment_clusters", "segment_numbers", "count", "score", "compare", "panel", "curves"),
    *("report", "page", "summary"),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("patchbank/methods/alignseg/losses.py", '"""', '"""A new first sentence. ', {}),
        ("scripts/train.py", "with stage", "# why not\nwith stage", {}),
        ("patchbank/evaluation/protocols/hungarian.py", "import annotations", "import annotations\nNEW = 1", None),
        ("patchbank/methods/alignseg/losses.py", "import annotations", "import annotations\nNEW = 1", None),
    ],
    ids=["comment", "comment-in-script", "protocol", "loss"],
)
def test_a_change_of_code_reruns_what_depends_on_it(
    finished: Project, file: str, old: str, new: str, expected: dict[str, int] | None
) -> None:
    planned = finished.planned_with(file, old, new)
    if expected is not None:
        assert planned == expected
    elif "protocols" in file:
        assert set(planned) == {"score", "compare", "panel", "report", "page", "summary", "all"}
    else:
        assert "train" in planned
        assert planned["train"] == 1
        assert set(planned) <= {*LATER, "all"}
        assert not {"extract", "bank", "manifest", "weights", "demo"} & set(planned)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("file", "old", "new", "first", "untouched"),
    [
        ("config.yaml", "pressure: 0.11", "pressure: 0.2", "train", {"extract", "bank", "statistics", "manifest"}),
        ("config.yaml", "block: 1", "block: 2", "extract", {"manifest", "demo"}),
        ("config.yaml", "file: tiny.safetensors", "file: other.safetensors", "weights", {"demo"}),
        ("patchbank/datasets/tables/demo.yaml", "name: meadow", "name: lawn", "manifest", {"weights", "demo"}),
        (
            "config.yaml",
            "preprocessing: squash_448_100",
            "preprocessing: full",
            "count",
            {"extract", "train", "predict"},
        ),
        ("config.yaml", "niter: 5", "niter: 6", "segment_clusters", {"extract", "manifest"}),
        ("config.yaml", "gallery: 24", "gallery: 6", "page", {"count", "score", "panel", "report"}),
        (
            "patchbank/report/page/templates/style.css",
            "--ink: #1b1f24",
            "--ink: #000000",
            "page",
            {"count", "score", "panel", "report"},
        ),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it_only(
    finished: Project, file: str, old: str, new: str, first: str, untouched: set[str]
) -> None:
    planned = finished.planned_with(file, old, new)
    assert first in planned
    assert not untouched & set(planned)


@pytest.mark.exhaustive
def test_every_set_has_a_target_and_a_missing_one_shows_the_tree(finished: Project) -> None:
    listed = finished.done("--list-target-rules")
    for name in ("eval_demo", "eval_msrc", "eval_camvid", "eval_voc"):
        assert name in listed
    result = finished.snakemake("eval_voc")  # without --cores: the profile has it
    assert result.returncode != 0
    assert "Traceback" not in result.stdout
    assert "sets/" in result.stdout
    assert "data/voc" in result.stdout
    assert "How to get it" in result.stdout


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("data_rot=x", "unknown key; did you mean 'data_root'"),
        pytest.param("backbone=resnet", "is not one of the backbones", marks=pytest.mark.exhaustive),
        pytest.param("fit=test", "is not one of", marks=pytest.mark.exhaustive),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(finished: Project, argument: str, said: str) -> None:
    result = finished.snakemake("-n", "all", "--config", argument)
    assert result.returncode != 0
    assert said in result.stdout
    assert "Traceback" not in result.stdout


@pytest.mark.exhaustive
def test_an_extraction_spreads_over_the_devices_that_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from a variable; both processes claim one, what they make is one bank."""
    monkeypatch.setenv("PATCHBANK_DEVICES", "0,1,2")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    project = Project(tmp_path / "p", TINY)
    project.done("results/demo/bank/val-whole.json", "--resources", "gpu=2")
    log = (project.folder / "results/logs/demo/extract-val-whole-0-of-1.log").read_text()
    claimed = re.findall(r"part (\d) of 2: computes on device (\d)", log)
    assert {part for part, _ in claimed} == {"1", "2"}
    assert {device for _, device in claimed} == {"0", "1"}
    assert json.loads((project.folder / "results/demo/bank/val-whole.json").read_text())["record"]["images"] == 6


@pytest.mark.exhaustive
def test_two_trainings_at_the_same_time_compute_on_different_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBANK_DEVICES", "0,1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    project, rows = Project(tmp_path / "p", TINY), ("kmeans", "linear-probe")
    project.done(*(f"results/demo/{row}/seed0/checkpoint.json" for row in rows), "--resources", "gpu=2")
    logs = [(project.folder / f"results/logs/demo/train-{row}-seed0.log").read_text() for row in rows]
    assert sorted(re.findall(r"computes on device (\d)", "".join(logs))) == ["0", "1"]
