"""Settings over config.yaml, training from whole images, and instances, through the real Snakefile.

The set is the demo's pictures and instance masks without their classes, as MOVi is; clusters are fitted on val.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from workflow_tools import TINY, Project

from patchbank.bank.format import read_record
from patchbank.config.schema import merge
from patchbank.datasets.demo import generate

pytestmark = pytest.mark.exhaustive

SETTINGS: dict[str, Any] = {
    "fit": "val",
    "floors": ["single", "image-kmeans"],
    "ceilings": [],
    "methods": {"alignseg": {"epochs": 2, "batch_size": 4, "hidden": 64, "tokens_from": "whole"}},
    "datasets": {"scenes": {"layout": "folder", "backbone": "tiny", "settings": {"protocols": ["objects"]}}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after the set ran with a settings file."""
    folder = tmp_path_factory.mktemp("objects")
    generate(folder / "scenes", seed=3, train=8, val=4, size=96)
    project = Project(folder / "p", merge(TINY, {"data_root": str(folder)}), forks=True)
    (project.folder / "extra.yaml").write_text(yaml.safe_dump(SETTINGS))
    project.done("eval_scenes", "--configfile", "extra.yaml")
    return project


def rows_of(project: Project) -> list[dict[str, Any]]:
    report = json.loads((project.folder / "results" / "scenes" / "report.json").read_text())
    rows: list[dict[str, Any]] = report["rows"]
    return rows


def test_scores_of_objects_reach_the_report(finished: Project) -> None:
    rows = rows_of(finished)
    assert {(row["protocol"], row["preprocessing"]) for row in rows} == {("objects", "objects_256")}
    for method in ("alignseg", "kmeans", "single", "image-kmeans-5"):
        assert [row["variant"] for row in rows if row["method"] == method] == ["fg_ari", "mbo"]
    used = next(row["segments"] for row in rows if row["method"] == "alignseg")
    assert used <= 1 or f"image-kmeans-{int(np.ceil(used))}" in {row["method"] for row in rows}
    text = (finished.folder / "results" / "scenes" / "report.md").read_text()
    for words in ("FG-ARI** under `objects`", "mBO** under `objects`", "### `objects`", "score ± std (n)"):
        assert words in text


def test_one_segment_scores_what_its_instances_say(finished: Project) -> None:
    """Of one segment, FG-ARI is 0 wherever there are two objects, and mBO the mean share of the image of its labels."""
    found = {row["variant"]: row for row in rows_of(finished) if row["method"] == "single"}
    shares = []
    for path in sorted((finished.folder.parent / "scenes" / "instances" / "val").iterdir()):
        mask = np.asarray(Image.open(path).resize((256, 256), Image.Resampling.NEAREST))
        assert len(np.unique(mask[mask > 0])) > 1
        shares.append(np.mean([(mask == label).mean() for label in np.unique(mask)]))
    assert found["mbo"]["miou"]["mean"] == pytest.approx(100 * np.mean(shares))
    assert found["fg_ari"]["miou"]["mean"] == pytest.approx(0, abs=1e-9)
    assert found["mbo"]["segments"] == 1


def test_training_from_whole_images_reads_the_train_split_and_needs_no_crops(finished: Project) -> None:
    results = finished.folder / "results"
    record = json.loads((results / "scenes" / "alignseg" / "seed0" / "checkpoint.json").read_text())
    assert record["settings"]["crops"]["size"] == 64  # recipes.multicrop of the set
    assert record["images"] == 8  # clusters are fitted on the 4 images of val, heads are not
    clusters = json.loads((results / "scenes" / "kmeans" / "seed0" / "checkpoint.json").read_text())
    assert clusters["bank"] == read_record(results / "scenes" / "bank" / "val-whole.json")[1]["manifest"]
    row = next(row for row in rows_of(finished) if row["method"] == "alignseg")
    assert row["settings"]["tokens_from"] == "whole"
    assert not list((results / "bank").rglob("multicrop-*"))


def test_a_settings_file_is_merged_mapping_by_mapping(finished: Project) -> None:
    """What the file leaves out is still that of config.yaml, and `--config` wins over the file."""
    extra = ("eval_scenes", "--configfile", "extra.yaml")
    assert finished.planned(*extra) == {}
    settings = next(row["settings"] for row in rows_of(finished) if row["method"] == "alignseg")
    assert (settings["hidden"], settings["queries"], settings["pressure"]) == (64, 5, 0.11)
    changed = finished.planned(*extra, "--config", "methods={alignseg: {pairing: reference}}")
    assert "train" in changed
    assert not {"extract", "manifest", "weights"} & set(changed)
