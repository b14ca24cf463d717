"""Folders of one's own through the real Snakefile: damaged files, a kill in the middle, no labels, real photographs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from workflow_tools import TINY, Project

from patchbank.config.schema import merge
from patchbank.datasets.demo import generate

pytestmark = pytest.mark.exhaustive
FEW: dict[str, Any] = {"floors": ["single"], "ceilings": []}


def folder_set(tmp_path: Path) -> Project:
    """A project with the demo's pictures as an ordinary set `mine` (layout folder), and few rows."""
    changes = {
        **FEW,
        "all": [],
        "datasets": {"mine": {"layout": "folder", "root": str(tmp_path / "mine"), "table": "demo", "backbone": "tiny"}},
        "methods": {"alignseg": {"epochs": 2, "batch_size": 4, "hidden": 64}},
    }
    generate(tmp_path / "mine", seed=0, train=12, val=6, size=112)
    return Project(tmp_path / "p", merge(TINY, changes), forks=True)


def test_bad_files_are_named_together_before_any_feature(tmp_path: Path) -> None:
    project = folder_set(tmp_path)
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


def test_a_kill_in_the_middle_loses_nothing_and_a_new_image_costs_one_shard(tmp_path: Path) -> None:
    project = folder_set(tmp_path)
    project.forks = False  # jobs start as users start them, and a group of processes is killed as one
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
    project.forks = True
    assert project.planned("eval_mine") == {}
    report = json.loads((project.folder / "results" / "mine" / "report.json").read_text())
    assert report["rows"]

    # copies of all files in their places: other times and numbers, and nothing to be done
    for path in [path for path in (tmp_path / "mine").rglob("*") if path.is_file()]:
        copy = shutil.copyfile(path, tmp_path / "copy")
        copy.replace(path)
    assert project.planned("eval_mine") == {}

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


def test_a_folder_without_labels_gives_segments_and_pictures(tmp_path: Path) -> None:
    changes = {
        "seeds": [0],
        "floors": ["image-kmeans"],
        "ceilings": [],
        "datasets": {"mine": {"layout": "folder", "root": str(tmp_path / "mine"), "backbone": "tiny"}},
        "methods": {"alignseg": {"epochs": 1, "batch_size": 4, "hidden": 64}},
        "clustering": {"k": 5},
    }
    project = Project(tmp_path / "p", merge(TINY, changes), forks=True)
    generate(tmp_path / "demo", seed=0, train=12, val=6, size=112)
    shutil.move(tmp_path / "demo" / "images", tmp_path / "mine" / "images")
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
        **FEW,
        "recipes": {"whole": {"size": 224}, "multicrop": {"size": 112, "draws": 1}},
        "methods": {"alignseg": {"epochs": 2, "batch_size": 4}},
        "backbones": {"dinov2_vits14_saliency": {"file": str(saliency_weights)}},
        "data_root": str(tmp_path / "data"),
    }
    project = Project(tmp_path / "p", merge(TINY, changes), forks=True)
    project.done("eval_msrc", "eval_camvid")
    for name, classes in (("msrc", 23), ("camvid", 11)):
        report = json.loads((project.folder / "results" / name / "report.json").read_text())
        assert len(report["classes"]) == classes
        assert report["images"] == {"eval": 4, "train": 10}
        assert report["backbone"]["name"] == "dinov2_vits14_saliency"
        assert "saliency" in report["backbone"]["note"]
        assert {row["method"] for row in report["rows"]} >= {"alignseg", "kmeans", "single"}
