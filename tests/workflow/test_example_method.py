"""A method in one folder: that of CONTRIBUTING.md, written into a copy of the project, stands everywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from example_method import NAME, write_example
from workflow_tools import COPIED, ROOT, TINY, Project

from patchbank.checkpoints.store import load_checkpoint
from patchbank.config.schema import merge

ROWS = {"plain": {"factor": "default"}, "fewer": {"factor": "segments", "settings": {"segments": 3}}}
CHANGES = {
    "methods": {"alignseg": None, "kmeans": None, NAME: {"postprocess": ["bilinear"]}},
    "floors": ["single", "voronoi", "image-kmeans"],
    "ceilings": [],
    "gallery": 3,
    "ablations": {"mine": {"method": NAME, "datasets": ["demo"], "rows": ROWS}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with the method, after a run of everything and of an ablation of it."""
    tiny = {key: value for key, value in TINY.items() if key != "datasets"}
    demo = {key: value for key, value in TINY["datasets"]["demo"].items() if key != "settings"}
    changes = merge(merge(tiny, {"datasets": {"demo": {**demo, "settings": {}}}}), CHANGES)
    project = Project(tmp_path_factory.mktemp("third") / "copy", changes, forks=True)
    config = project.folder / "config.yaml"
    write_example(project.folder / "patchbank")
    assert NAME in config.read_text()
    project.done("all", "ablate_mine")
    return project


def patchbank(project: Project, *arguments: str) -> None:
    command = [sys.executable, "-m", "patchbank", *arguments]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.exhaustive
def test_one_new_folder_is_all_that_the_copy_has(project: Project) -> None:
    new = []
    for top in COPIED:
        paths = [path for path in (project.folder / top).rglob("*") if path.is_file()] or [project.folder / top]
        for path in paths:
            name = path.relative_to(project.folder)
            if "__pycache__" in name.parts or name.name == "config.yaml":
                continue
            if not (ROOT / name).is_file():
                new.append(name.parent.as_posix())
            else:
                assert path.read_bytes() == (ROOT / name).read_bytes(), name
    assert set(new) == {f"patchbank/methods/{NAME}"}


@pytest.mark.exhaustive
def test_it_stands_in_report_page_summary_panel_and_ablation_with_its_floors(project: Project) -> None:
    results = project.folder / "results"
    report = json.loads((results / "demo" / "report.json").read_text())
    rows = {row["method"] for row in report["rows"]}
    assert {NAME, f"{NAME}+bilinear", "single", "voronoi-4", "image-kmeans-4"} <= rows
    compared = {(c["a"], c["b"]) for c in report["comparisons"]}
    assert (NAME, "image-kmeans-4") in compared
    for page in ("demo/report.md", "demo/index.html", "summary.md", "index.html"):
        assert NAME in (results / page).read_text(), page
    assert list((results / "demo" / "clusters").glob(f"{NAME}.*.jpg"))
    assert list((results / "demo" / "gallery").glob(f"*.{NAME}.jpg"))  # its columns are those of the panel
    table = json.loads((results / "ablations" / "mine.json").read_text())["demo"]
    assert [row["name"] for row in table["rows"]][:2] == ["plain", "fewer"]
    assert all(row["floor_at"].startswith("image-kmeans-") for row in table["rows"][:2])


@pytest.mark.exhaustive
def test_the_commands_know_it(project: Project) -> None:
    trained = "results/demo/directions/seed0/checkpoint.safetensors"
    patchbank(project, "train", NAME, "--dataset", "demo", "--out", "trained", "--threads", "1")
    ours, again = (load_checkpoint(project.folder / name)[0] for name in (trained, "trained/checkpoint.safetensors"))
    assert ours["directions"].shape == (4, 192)
    assert all(again[key].allclose(value, atol=1e-4) for key, value in ours.items())
    patchbank(project, "export", NAME, trained, "--out", "published.pth")
    patchbank(project, "import", NAME, "published.pth", "--out", "back.safetensors")
    back = load_checkpoint(project.folder / "back.safetensors")[0]
    assert all(back[key].equal(value) for key, value in ours.items())
    given = ["results/demo/data/images/val", "--checkpoint", trained, "--size", "112", "--threads", "1"]
    patchbank(project, "segment", *given, "--out", "segmented")
    legend = json.loads((project.folder / "segmented" / "legend.json").read_text())
    assert legend["kind"] == "classes"
    assert len(list((project.folder / "segmented" / "labels").iterdir())) == 6
