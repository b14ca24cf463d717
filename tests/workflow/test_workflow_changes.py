"""What a finished project makes again after a change of code or settings; errors, devices."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from workflow_tools import TINY, Project

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after `snakemake all`."""
    project = Project(tmp_path_factory.mktemp("project") / "p", TINY, forks=True)
    project.done("all")
    return project


@pytest.fixture
def _inside(finished: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.folder)


@pytest.mark.usefixtures("_inside")
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


LATER = {
    *("train", "predict", "segment_clusters", "segment_numbers", "count", "score", "compare", "panel", "curves"),
    *("report", "page", "summary"),
}


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


def test_code_that_changes_while_a_run_goes_ends_the_jobs_that_use_it(tmp_path: Path) -> None:
    project = Project(tmp_path / "p", TINY, forks=True)
    sheet = project.folder / "patchbank/report/sheet.py"
    before = sheet.read_text()
    command = project.command("--cores", "1", "results/demo/sheet.png")
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as run:
        assert run.stdout is not None
        said = ""
        while "Checking every image" not in said and (line := run.stdout.readline()):
            said += line
        sheet.write_text(before.replace("import annotations", "import annotations\nNEW = 1"))
        said += run.stdout.read()
    assert run.returncode == 1, said
    assert "The code of this job (sheet.py or a module of patchbank that it uses) has changed since this run" in said
    assert "Traceback" not in said
    sheet.write_text(before)
    assert project.planned("results/demo/sheet.png") == {"sheet": 1}
    project.done("results/demo/sheet.png")


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


def test_jobs_compute_on_the_devices_that_are_given(
    tmp_path: Path, short_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted from a variable: both processes of an extraction claim one, so do two trainings at the same time."""
    monkeypatch.setenv("PATCHBANK_DEVICES", "0,1,2")
    monkeypatch.setenv("TMPDIR", str(short_folder))
    project, rows = Project(tmp_path / "p", TINY, forks=True), ("kmeans", "linear-probe")
    bank, trained = "results/demo/bank/val-whole.json", [f"results/demo/{row}/seed0/checkpoint.json" for row in rows]
    project.done(bank, *trained, "--resources", "gpu=2")
    log = (project.folder / "results/logs/demo/extract-val-whole-0-of-1.log").read_text()
    claimed = re.findall(r"process (\d) of 2: computes on device (\d)", log)
    assert {process for process, _ in claimed} == {"1", "2"}
    assert {device for _, device in claimed} == {"0", "1"}
    assert json.loads((project.folder / bank).read_text())["record"]["images"] == 6
    logs = [(project.folder / f"results/logs/demo/train-{row}-seed0.log").read_text() for row in rows]
    assert sorted(re.findall(r"computes on device (\d)", "".join(logs))) == ["0", "1"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [("backbone=resnet", "is not one of the backbones"), ("fit=test", "is not one of")],
)
def test_a_wrong_configuration_is_one_clear_error(finished: Project, argument: str, said: str) -> None:
    result = finished.snakemake("-n", "all", "--config", argument)
    assert result.returncode != 0
    assert said in result.stdout
    assert "Traceback" not in result.stdout
