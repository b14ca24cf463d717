"""The real Snakefile, end to end on a small demo set with a tiny random encoder; staleness, resume, errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from PIL import Image
from workflow_tools import TINY, Project

from patchbank import open_bank
from patchbank.bank.verify import verify_bank
from patchbank.config.schema import merge

pytestmark = pytest.mark.slow


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


def test_another_preprocessing_counts_and_scores_again_and_runs_no_model(finished: Project) -> None:
    rows = json.loads(Path("results/demo/report.json").read_text())["rows"]
    asked = ("all", "--config", "score_at=[full,squash_448_100]")
    planned = finished.planned(*asked)
    methods = {row["method"] for row in rows}
    assert planned == {"count": len(methods), "score": len(methods), "report": 1, "page": 1, "summary": 1, "all": 1}
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
    *("train", "predict", "segment_clusters", "count", "score", "compare", "panel", "curves", "report", "page"),
    "summary",
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
        ("backbone=resnet", "is not one of the backbones"),
        ("fit=test", "is not one of"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(finished: Project, argument: str, said: str) -> None:
    result = finished.snakemake("-n", "all", "--config", argument)
    assert result.returncode != 0
    assert said in result.stdout
    assert "Traceback" not in result.stdout


def folder_set(finished: Project, tmp_path: Path) -> Project:
    """A project of its own with the demo's pictures as an ordinary set `mine` (layout folder)."""
    changes = {
        "all": [],
        "datasets": {"mine": {"layout": "folder", "root": str(tmp_path / "mine"), "table": "demo", "backbone": "tiny"}},
        "methods": {"alignseg": {"epochs": 2, "batch_size": 4, "hidden": 64}},
    }
    project = Project(tmp_path / "p", merge(TINY, changes))
    shutil.copytree(finished.folder / "results" / "demo" / "data", tmp_path / "mine")
    return project


def test_bad_files_are_named_together_before_any_feature(finished: Project, tmp_path: Path) -> None:
    project = folder_set(finished, tmp_path)
    images = sorted((tmp_path / "mine" / "images" / "train").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:200])
    images[1].write_bytes(b"")
    mask = tmp_path / "mine" / "masks" / "train" / images[2].name
    Image.new("RGB", (112, 112), "red").save(mask)
    result = project.snakemake("--cores", "2", "eval_mine")
    assert result.returncode != 0
    for image in images[:3]:
        assert image.name in result.stdout
    assert "Traceback" not in result.stdout
    assert not (project.folder / "results" / "bank").exists()
    assert images[0].name in (project.folder / "results" / "logs" / "mine" / "manifest.log").read_text()


def test_a_kill_in_the_middle_loses_nothing_and_a_new_image_costs_one_shard(finished: Project, tmp_path: Path) -> None:
    project = folder_set(finished, tmp_path)
    process = subprocess.Popen(
        project.command("--cores", "2", "eval_mine"),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    shards = project.folder / "results" / "bank"
    while process.poll() is None and not list(shards.rglob("0*.h5")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in shards.rglob("0*.h5")}
    assert kept
    project.done("--unlock")
    project.done("eval_mine")
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    assert project.planned("eval_mine") == {}
    report = json.loads((project.folder / "results" / "mine" / "report.json").read_text())
    assert report["rows"]

    # the same picture under another name is another image: one shard of each train bank is new
    for kind in ("images", "masks", "instances"):
        files = sorted((tmp_path / "mine" / kind / "train").iterdir())
        shutil.copy(files[0], files[0].with_name("added" + files[0].suffix))
    before = {path.stat().st_ino for path in shards.rglob("train/*/whole-*/0*.h5")}
    assert "manifest" in project.planned("eval_mine")
    project.done("eval_mine")
    after = {path.stat().st_ino for path in shards.rglob("train/*/whole-*/0*.h5")}
    assert len(after - before) == 1
    manifest = json.loads((project.folder / "results" / "mine" / "manifest.json").read_text())
    assert len(manifest["splits"]["train"]) == 13

    # another mask: pixels are counted again, no feature is computed (the jobs between find everything there)
    masks = sorted((tmp_path / "mine" / "masks" / "val").iterdir())
    shutil.copy(masks[0], masks[1])
    text = project.done("eval_mine")
    assert "Counting pixels" in text
    assert {path.stat().st_ino for path in shards.rglob("train/*/whole-*/0*.h5")} == after


def test_a_folder_without_labels_gives_segments_and_pictures(finished: Project, tmp_path: Path) -> None:
    changes = {
        "seeds": [0],
        "floors": ["image-kmeans"],
        "datasets": {"mine": {"layout": "folder", "root": str(tmp_path / "mine"), "backbone": "tiny"}},
        "methods": {"alignseg": {"epochs": 1, "batch_size": 4, "hidden": 64}},
        "clustering": {"k": 5},
    }
    project = Project(tmp_path / "p", merge(TINY, changes))
    shutil.copytree(finished.folder / "results" / "demo" / "data" / "images", tmp_path / "mine" / "images")
    project.done("eval_mine")
    report = json.loads((project.folder / "results" / "mine" / "report.json").read_text())
    assert report["rows"] == []
    assert report["images"] == {"eval": 6, "train": 12}
    with Image.open(project.folder / "results" / "mine" / "panel.png") as panel:
        assert panel.height > 300
    assert list((project.folder / "results" / "mine" / "clusters").glob("alignseg.*.jpg"))
    assert 'id="gallery"' in (project.folder / "results" / "mine" / "index.html").read_text()


def test_real_photographs_go_from_tree_to_report(real_data: Path, saliency_weights: Path, tmp_path: Path) -> None:
    """A few real images of both sets in their real layouts, with the real ViT."""
    msrc, camvid = tmp_path / "data" / "msrc", tmp_path / "data" / "camvid"
    for split, count in (("train", 10), ("val", 4)):
        names = (real_data / "msrc" / "sets" / f"{split}.txt").read_text().split()[::17][:count]
        for folder in ("sets", "images", "SegmentationClass"):
            (msrc / folder).mkdir(parents=True, exist_ok=True)
        (msrc / "sets" / f"{split}.txt").write_text("\r\n".join(names))
        for name in names:
            shutil.copy(real_data / "msrc" / "images" / f"{name}.jpg", msrc / "images")
            shutil.copy(real_data / "msrc" / "SegmentationClass" / f"{name}.png", msrc / "SegmentationClass")
        for kind in ("images", "masks"):
            (camvid / kind / split).mkdir(parents=True)
            for path in sorted((real_data / "camvid" / kind / split).iterdir())[::20][:count]:
                shutil.copy(path, camvid / kind / split)
    changes = {
        "recipes": {"whole": {"size": 224}, "multicrop": {"size": 112, "draws": 1}},
        "methods": {"alignseg": {"epochs": 2, "batch_size": 4}},
        "backbones": {"dinov2_vits14_saliency": {"file": str(saliency_weights)}},
        "data_root": str(tmp_path / "data"),
    }
    project = Project(tmp_path / "p", merge(TINY, changes))
    project.done("eval_msrc", "eval_camvid")
    for name, classes in (("msrc", 23), ("camvid", 11)):
        report = json.loads((project.folder / "results" / name / "report.json").read_text())
        assert len(report["classes"]) == classes
        assert report["images"] == {"eval": 4, "train": 10}
        assert report["backbone"]["name"] == "dinov2_vits14_saliency"
        assert "saliency" in report["backbone"]["note"]
        assert {row["method"] for row in report["rows"]} >= {"alignseg", "kmeans", "single"}
