"""Rows that cannot be made, on pictures of a few pixels, through the real Snakefile: all other rows are written.

No train pixel is labelled, a picture has 4 patches and a head 5 segments, and the library of the CRF is not there.
"""

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

SIZES = ((1, 1), (300, 1), (1, 200), (5, 3), (6, 6), (64, 48))
CHANGES: dict[str, Any] = {
    "all": ["few"],
    "recipes": {"whole": {"size": 32}},
    "floors": ["image-kmeans"],
    "protocols": ["per_image", "hungarian", "objects"],
    "score_at": ["full"],
    "gallery": 6,
    "methods": {"alignseg": {"epochs": 2, "batch_size": 4, "hidden": 64, "postprocess": ["crf"]}},
    "datasets": {"few": {"layout": "folder", "backbone": "tiny", "classes": ["left", "right"]}},
}
REASONS = {
    "alignseg+crf": "needs pydensecrf2",
    "image-kmeans-5": "an image has 4 patches, fewer than the 5 segments asked for",
    "linear-probe": "no patch of split 'train' of few has a label",
    "objects": "few has no instance maps in split 'val'",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after such a set ran."""
    folder = tmp_path_factory.mktemp("left_out")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / "few" / kind / split).mkdir(parents=True)
        for index, (width, height) in enumerate(SIZES):
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "few" / "images" / split / f"{index}.png")
            mask = np.full((height, width), 255, np.uint8)
            if split == "val":
                mask[:] = np.arange(width) >= width / 2
            Image.fromarray(mask).save(folder / "few" / "masks" / split / f"{index}.png")
    # a library that is there but cannot be loaded is as good as none, wherever the tests run
    (folder / "none").mkdir()
    (folder / "none" / "pydensecrf.py").write_text("raise ImportError('left out of this test')")
    project = Project(folder / "p", merge(TINY, {"data_root": str(folder), **CHANGES}), forks=True)
    project.paths = [folder / "none"]
    project.done("all")
    return project


def results(project: Project) -> Path:
    return project.folder / "results" / "few"


def test_every_row_that_can_be_made_is_there(finished: Project) -> None:
    report = json.loads((results(finished) / "report.json").read_text())
    made = {row["method"] for row in report["rows"]}
    # floors stand at the mean number of used segments too, which may be one that 4 patches have
    fewer = {f"image-kmeans-{q}" for q in (2, 3, 4)}
    assert made - fewer == {"alignseg", "kmeans", "grid-majority"}
    assert {row["method"] for row in report["elsewhere"]} == made
    assert {row["protocol"] for row in report["rows"]} == {"per_image", "hungarian"}


def test_every_other_row_is_named_with_its_reason(finished: Project) -> None:
    report = json.loads((results(finished) / "report.json").read_text())
    assert {entry["row"] for entry in report["left_out"]} == set(REASONS)
    texts = [(results(finished) / name).read_text() for name in ("report.md", "index.html")]
    for entry in report["left_out"]:
        assert REASONS[entry["row"]] in entry["reason"]
    for name in REASONS:
        assert f"- {name}: " in texts[0]
        assert f"<li>{name}: " in texts[1]
    assert "- few: linear-probe: " in (finished.folder / "results" / "summary.md").read_text()
    assert "<li>few: linear-probe: " in (finished.folder / "results" / "index.html").read_text()


def test_panel_gallery_and_sheets_are_there_without_their_columns(finished: Project) -> None:
    shown = {path.name.split(".")[1] for path in (results(finished) / "gallery").glob("*.jpg")}
    assert shown == {"image", "truth", "pca", "alignseg", "kmeans"}
    sheets = {path.name.split(".")[0] for path in (results(finished) / "clusters").glob("*.jpg")}
    assert sheets == {"alignseg", "kmeans"}
    assert Image.open(results(finished) / "panel.png").width > 4 * 400


def test_nothing_is_made_again_and_a_row_comes_back_with_its_reason_gone(finished: Project) -> None:
    assert finished.planned("eval_few") == {}
    for path in sorted((finished.folder.parent / "few" / "masks" / "train").iterdir()):
        mask = np.asarray(Image.open(path)).copy()
        mask[:] = np.arange(mask.shape[1]) >= mask.shape[1] / 2
        Image.fromarray(mask).save(path)
    finished.done("eval_few")
    report = json.loads((results(finished) / "report.json").read_text())
    assert "linear-probe" in {row["method"] for row in report["rows"]}
    assert {entry["row"] for entry in report["left_out"]} == set(REASONS) - {"linear-probe"}
