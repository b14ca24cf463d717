"""Every configured set from its real tree to a report; what a missing set and an own folder look like.

All sets and trees go through the functions of the stages, with random predictions; one of each family goes through
Snakemake with the tiny encoder. One method without training and one protocol: what differs between sets is the tree
and the label map.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trees
import yaml
from PIL import Image
from set_stages import Maker, config_of, through_the_stages
from workflow_tools import TINY, Project

from patchbank.config.load import checked, default_config
from patchbank.config.schema import merge
from patchbank.datasets import Manifest, tree_fingerprint
from patchbank.errors import UserError
from patchbank.evaluation.count import count_predictions
from patchbank.evaluation.counts import CountsFile
from patchbank.evaluation.protocols import get
from patchbank.report.content import Report
from patchbank.report.rows import mean_of, score_of

FEW: dict[str, Any] = {"floors": [], "protocols": ["hungarian"], "methods": {"kmeans": {"sample": 1000}}}

MADE: list[tuple[str, Maker, dict[str, Any]]] = [
    ("voc", trees.voc_alignseg, {}),
    ("voc", trees.voc_archive, {"train_split": "train"}),
    ("voc_animals", trees.voc_archive, {}),
    ("coco27", trees.coco_transfgu, {"images": "annotated"}),
    ("coco27", trees.coco_alignseg, {}),
    ("coco27", trees.coco_alignseg, {"table": "coco27_alphabetical"}),
    ("coco27", trees.coco_alignseg, {"table": "coco27_alignseg_exact"}),
    ("coco27_things", trees.coco_alignseg, {}),
    ("coco27_things", trees.coco_pixelmaps, {"layout": "coco_thing", "images": "all"}),
    ("coco27_stuff", trees.coco_alignseg, {}),
    ("coco27_stuff", trees.coco_pixelmaps, {"layout": "coco_stuff", "images": "all"}),
    ("coco171", trees.coco_transfgu, {}),
    ("coco80", trees.coco_transfgu, {}),
    ("cityscapes27", trees.cityscapes, {}),
    ("cityscapes19", trees.cityscapes, {}),
    ("lip5", trees.lip, {}),
    ("lip16", trees.lip, {}),
    ("lip19", trees.lip, {}),
    ("movi_c", trees.movi, {}),
    ("movi_e", trees.movi, {}),
    ("potsdam3", trees.potsdam, {}),
]
REAL = [
    ("coco27", "coco_stuff_sample", {"images": "all"}, (13, 8)),
    ("coco27_things", "coco_stuff_sample", {"images": "all"}, (13, 8)),
    ("coco27_stuff", "coco_stuff_sample", {"images": "all"}, (13, 8)),
    ("coco171", "coco_stuff_sample", {"images": "all"}, (13, 8)),
    ("coco80", "coco_stuff_sample", {"images": "all"}, (13, 8)),
    ("cityscapes27", "cityscapes_sample", {"eval_split": "train"}, (4, 4)),
    ("cityscapes19", "cityscapes_sample", {"eval_split": "train"}, (4, 4)),
    ("lip5", "lip_sample", {}, (3, 2)),
    ("lip16", "lip_sample", {}, (3, 2)),
    ("lip19", "lip_sample", {}, (3, 2)),
]


def check_rows(manifest: Manifest, report: Report) -> None:
    """Scores of all classes where there are classes, no row where there are none."""
    assert {row.protocol for row in report.rows} == ({"hungarian", "per_image"} if manifest.classes else set())
    for row in report.rows:
        assert len(row.per_class) == len(manifest.classes)
        assert 0 <= score_of(row).mean < 100
        assert row.protocol != "hungarian" or 0 < (mean_of(row.accuracy) or 0) < 100


@pytest.mark.parametrize(
    ("name", "make", "changes"), MADE, ids=[f"{n}-{m.__name__}-{'-'.join(map(str, c.values()))}" for n, m, c in MADE]
)
def test_every_made_tree_goes_to_a_report(tmp_path: Path, name: str, make: Maker, changes: dict[str, Any]) -> None:
    make(tmp_path / "data")
    manifest, report = through_the_stages(config_of(name, tmp_path / "data", changes), name, tmp_path)
    assert report.images == {"train": 4, "eval": 2}
    check_rows(manifest, report)


@pytest.mark.parametrize(("name", "folder", "changes", "sizes"), REAL, ids=[case[0] for case in REAL])
def test_every_real_sample_goes_to_a_report(
    real_data: Path, tmp_path: Path, name: str, folder: str, changes: dict[str, Any], sizes: tuple[int, int]
) -> None:
    manifest, report = through_the_stages(config_of(name, real_data / folder, changes), name, tmp_path)
    assert report.images == {"train": sizes[0], "eval": sizes[1]}
    check_rows(manifest, report)


def test_instances_of_movi_are_scored_by_the_protocol_objects(tmp_path: Path) -> None:
    trees.movi(tmp_path / "data")
    manifest, _ = through_the_stages(config_of("movi_c", tmp_path / "data", {}), "movi_c", tmp_path)
    count_predictions(tmp_path / "p.h5", manifest, tmp_path / "i.npz", "full", 1, "instance")
    scores = get("objects").evaluate(CountsFile(tmp_path / "i.npz")["k5-s0"])
    assert -1 < scores["fg_ari"].value < 1
    assert 0 < scores["mbo"].value < 1


def test_every_tree_and_set_of_the_configuration_is_tested() -> None:
    apart = {"demo", "msrc", "camvid"}  # tests/workflow/test_workflow.py
    assert {case[0] for case in MADE} == set(default_config().datasets) - apart


@pytest.mark.parametrize("name", sorted(set(default_config().datasets) - {"demo"}))
def test_a_missing_set_is_one_clear_error_with_the_tree_and_the_way_out(tmp_path: Path, name: str) -> None:
    config = checked(merge(default_config().values, {"data_root": str(tmp_path / "nowhere")}))
    with pytest.raises(UserError) as caught:
        tree_fingerprint(config.spec(name))
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f"{name}: {tmp_path}/nowhere/")
    assert first.endswith("does not exist.")
    assert "Expected below" in rest[0]
    assert any(line.startswith("How to get it: ") for line in rest)
    assert "data_root=DIR" in rest[-1]


def small_project(folder: Path, datasets: Mapping[str, Any]) -> Project:
    """A project whose sets lie below `folder`/data and whose only method is k-means on tokens."""
    project = Project(folder / "p", merge(TINY, {"backbone": "tiny", "data_root": str(folder / "data")}), forks=True)
    path = project.folder / "config.yaml"
    values = yaml.safe_load(path.read_text()) | FEW
    values["datasets"] = merge(values["datasets"], datasets)
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return project


def check_report(project: Project, name: str, sizes: tuple[int, int]) -> dict[str, Any]:
    """The report of a set, after checks that hold for all."""
    results = project.folder / "results" / name
    report: dict[str, Any] = json.loads((results / "report.json").read_text())
    assert report["images"] == {"train": sizes[0], "eval": sizes[1]}
    expected = {"mine": "hungarian" if report["classes"] else None, "movi_c": "objects"}.get(name, "hungarian")
    assert {row["protocol"] for row in report["rows"]} == {expected} - {None}
    with Image.open(results / "panel.png") as panel:
        assert panel.width > 100
    return report


@pytest.mark.exhaustive
def test_made_trees_go_through_snakemake(tmp_path: Path) -> None:
    chosen = [case for case in MADE if case[0] in ("coco171", "movi_c", "potsdam3")] + [MADE[0]]
    for name, make, _ in chosen:
        make(tmp_path / "data" / name)
    project = small_project(tmp_path, {name: {"root": name} for name, _, _ in chosen})
    project.done(*(f"eval_{name}" for name, _, _ in chosen))
    for name, _, _ in chosen:
        check_report(project, name, (4, 2))


@pytest.mark.exhaustive
def test_real_samples_go_through_snakemake(real_data: Path, tmp_path: Path) -> None:
    chosen = [case for case in REAL if case[0] in ("coco27", "cityscapes27", "lip5")]
    project = small_project(
        tmp_path, {name: {"root": str(real_data / folder), **changes} for name, folder, changes, _ in chosen}
    )
    project.done(*(f"eval_{name}" for name, *_ in chosen))
    for name, _, _, sizes in chosen:
        check_report(project, name, sizes)


@pytest.mark.exhaustive
def test_own_folders_need_one_command_and_no_edited_file(tmp_path: Path) -> None:
    project = small_project(tmp_path, {})
    listed = project.done("--list-target-rules").split()
    assert {f"eval_{name}" for name in default_config().datasets} <= set(listed)
    assert "eval_mine" not in listed
    for seed in range(6):
        trees.picture(tmp_path / "mine" / f"{seed}.jpg", seed)
        trees.mask(tmp_path / "masks" / f"{seed}.png", seed, [0, 1, 255])
    project.done("eval_mine", "--config", f"folder={tmp_path / 'mine'}")
    check_report(project, "mine", (6, 6))
    shutil.move(tmp_path / "masks", tmp_path / "mine" / "masks")
    project.done("eval_mine", "--config", f"folder={tmp_path / 'mine'}", "classes=sky, road")
    report = check_report(project, "mine", (6, 6))
    assert report["classes"] == ["sky", "road"]
    result = project.snakemake("eval_mine", "--config", f"folder={tmp_path / 'absent'}")
    assert result.returncode != 0
    assert f"{tmp_path}/absent does not exist" in result.stdout
    assert "Traceback" not in result.stdout
