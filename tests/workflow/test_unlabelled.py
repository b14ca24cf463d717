"""Masks are needed of the split that is scored only: every layout with an unlabelled train split, or with single images
without a mask, goes from its tree to a report, and what is not labelled is counted and named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trees
from page_factory import CLASSES, make_page, make_run, make_set
from PIL import Image
from set_stages import Maker, config_of, through_the_stages

from patchbank.config.config import Config
from patchbank.datasets import DatasetSpec, Manifest, make_spec, tree_fingerprint
from patchbank.datasets.scan import Scan, examine, scan
from patchbank.drawing.overlay import IGNORED
from patchbank.errors import UserError
from patchbank.evaluation.counts import CountsFile
from patchbank.report.panel import truth_of
from patchbank.report.rows import score_of
from patchbank.report.sheet import draw_sheet


def own_folder(root: Path) -> None:
    """The layout `folder`, as people make it."""
    for split, names in (("train", trees.TRAIN), ("val", trees.VAL)):
        for seed, name in enumerate(names):
            trees.picture(root / "images" / split / f"{name}.jpg", seed)
            trees.mask(root / "masks" / split / f"{name}.png", seed, [0, 1, 2, 255])


OWN: dict[str, Any] = {"classes": ["sky", "sea", "land"]}
TREES: list[tuple[str, Maker, dict[str, Any]]] = [
    ("camvid", own_folder, OWN),
    ("camvid", own_folder, {"classes": ["wet", "dry"], "label_map": {0: "dry", "1-2": "wet"}}),
    ("voc", trees.voc_alignseg, {}),
    ("voc", trees.voc_archive, {"train_split": "train"}),
    ("coco171", trees.coco_transfgu, {}),
    ("coco27", trees.coco_alignseg, {}),
    ("coco27_things", trees.coco_pixelmaps, {"layout": "coco_thing", "images": "all"}),
    ("coco27_stuff", trees.coco_pixelmaps, {"layout": "coco_stuff", "images": "all"}),
    ("cityscapes27", trees.cityscapes, {}),
    ("lip16", trees.lip, {}),
    ("potsdam3", trees.potsdam, {}),
]
IDS = [f"{name}-{make.__name__}-{len(changes)}" for name, make, changes in TREES]


def remove(manifest: Manifest, masks: list[str | None]) -> None:
    """Delete files of a set, and the folders that are empty then."""
    for mask in masks:
        assert mask is not None
        path = manifest.root / mask
        path.unlink()
        for folder in path.parents:
            if folder == manifest.root or any(folder.iterdir()):
                break
            folder.rmdir()


def labelled_set(folder: Path, name: str, make: Maker, changes: dict[str, Any]) -> tuple[Config, Manifest]:
    """The set with all of its masks."""
    make(folder / "data")
    config = config_of(name, folder / "data", changes)
    return config, scan(config.spec(name), workers=1)


@pytest.mark.parametrize(("name", "make", "changes"), TREES, ids=IDS)
def test_an_unlabelled_train_split_beside_a_labelled_one(
    tmp_path: Path, name: str, make: Maker, changes: dict[str, Any]
) -> None:
    config, before = labelled_set(tmp_path, name, make, changes)
    spec = config.spec(name)
    with_masks = tree_fingerprint(spec)
    remove(before, [entry.mask for entry in before.entries(before.train_split)])
    assert tree_fingerprint(spec) != with_masks
    manifest, report = through_the_stages(config, name, tmp_path)
    assert manifest.labelled
    assert manifest.fingerprint(spec.train_split) == before.fingerprint(spec.train_split)
    assert {entry.mask for entry in manifest.entries(spec.train_split)} == {None}
    assert manifest.entries(spec.eval_split) == before.entries(spec.eval_split)
    assert {row.protocol for row in report.rows} == {"hungarian", "per_image"}
    found = examine(spec, workers=1)
    train, val = (found.summary.splits[split] for split in spec.splits)
    assert (train.without_mask, train.pixels, val.without_mask) == (4, (), 0)
    assert f"Split {spec.train_split}: no image has a mask, so it is used without labels." in found.notes
    draw_sheet(manifest, tmp_path / "sheet.png")


@pytest.mark.parametrize(("name", "make", "changes"), TREES, ids=IDS)
def test_single_images_without_a_mask_are_counted_and_named(
    tmp_path: Path, name: str, make: Maker, changes: dict[str, Any]
) -> None:
    config, before = labelled_set(tmp_path, name, make, changes)
    train, val = (before.entries(split)[0] for split in (before.train_split, before.eval_split))
    remove(before, [train.mask, val.mask])
    manifest, report = through_the_stages(config, name, tmp_path)
    assert [entry.mask for entry in manifest.entries(manifest.eval_split)] == [None, before.entries("val")[1].mask]
    # the image without a mask is in the predictions and in no count
    counts = CountsFile(tmp_path / "counts.npz")["k5-s0"]
    assert len(counts.images) == 2
    assert np.unique(counts.image).tolist() == [counts.images.index(manifest.entries(manifest.eval_split)[1].id)]
    assert all(0 <= score_of(row).mean < 100 for row in report.rows)
    found = examine(config.spec(name), workers=1)
    assert found.check()["splits"][manifest.train_split]["named"]["without_mask"] == (train.image,)
    assert [note for note in found.notes if "no mask" in note] == [
        f"Split {manifest.train_split}: 1 of 4 images has no mask and is used without labels: {train.image}.",
        f"Split val: 1 of 2 images has no mask and is left out of all scores: {val.image}.",
    ]


@pytest.mark.parametrize(("name", "make", "changes"), TREES, ids=IDS)
def test_a_scored_split_without_any_mask_is_one_sentence_with_the_tree(
    tmp_path: Path, name: str, make: Maker, changes: dict[str, Any]
) -> None:
    config, manifest = labelled_set(tmp_path, name, make, changes)
    remove(manifest, [entry.mask for entry in manifest.entries(manifest.eval_split)])
    for stop in (tree_fingerprint, scan):
        with pytest.raises(UserError) as caught:
            stop(config.spec(name))  # type: ignore[operator]
        first, second, *_ = str(caught.value).splitlines()
        assert "does not exist" in first or "no image of split 'val', which is scored, has a mask" in first
        assert second.startswith("Expected below")


def test_a_split_that_is_fitted_on_and_scored_needs_masks(tmp_path: Path) -> None:
    own_folder(tmp_path)
    spec = make_spec("own", "folder", tmp_path, classes=("a", "b", "c"), eval_split="train")
    remove(scan(spec), [entry.mask for entry in scan(spec).entries("train")])
    with pytest.raises(UserError, match=r"masks/train does not exist"):
        tree_fingerprint(spec)


def test_instance_maps_may_be_missing_too(tmp_path: Path) -> None:
    trees.movi(tmp_path)
    spec = make_spec("movi", "movi", tmp_path)
    (tmp_path / "masks" / "v1.png").unlink()
    found = examine(spec, workers=1)
    assert found.manifest is not None
    assert sorted(str(entry.instances) for entry in found.manifest.entries("val")) == ["None", "masks/v2.png"]
    assert found.notes == (
        "Split val: 1 of 2 images without an instance map, left out where instances are compared: images/v1.png.",
    )


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone.png")


def folder_of_that_name(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("spoil", [broken_link, folder_of_that_name, damaged])
def test_a_mask_that_is_there_and_cannot_be_used_is_refused(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    own_folder(tmp_path)
    spoil(tmp_path / "masks/train/t2.png")
    with pytest.raises(UserError, match=r"masks/train/t2\.png: "):
        scan(make_spec("own", "folder", tmp_path, classes=("a", "b", "c")))


def test_annotated_coco_takes_every_picture_of_a_train_split_without_annotations(tmp_path: Path) -> None:
    trees.coco_transfgu(tmp_path)
    spec = make_spec("coco", "coco", tmp_path, table="coco171", images="annotated")
    assert [split.images for split in examine(spec).summary.splits.values()] == [4, 2]
    (tmp_path / "annotations" / "instances_train2017.json").unlink()
    found = examine(spec)
    assert [split.images for split in found.summary.splits.values()] == [5, 2]
    assert "Split train: 5 images, 117,266 are published." in found.notes
    (tmp_path / "annotations" / "instances_val2017.json").unlink()
    with pytest.raises(UserError, match=r"instances_val2017\.json does not exist"):
        tree_fingerprint(spec)


def quick(spec: DatasetSpec) -> Scan:
    return examine(spec, workers=1, quick=True)


def test_headers_alone_count_images_without_masks(tmp_path: Path) -> None:
    own_folder(tmp_path)
    (tmp_path / "masks/val/v2.png").unlink()
    found = quick(make_spec("own", "folder", tmp_path, classes=("a", "b", "c")))
    assert [note for note in found.notes if "no mask" in note] == [
        "Split val: 1 of 2 images has no mask and is left out of all scores: images/val/v2.jpg."
    ]


def test_pages_panels_and_sheets_show_images_without_a_mask_as_not_scored(tmp_path: Path) -> None:
    make_set(tmp_path)
    manifest = Manifest.load(tmp_path / "manifest.json")
    bare, *others = manifest.entries("val")
    bare = dataclasses.replace(bare, mask=None)
    manifest = dataclasses.replace(manifest, splits={**manifest.splits, "val": (bare, *others)})
    truth = truth_of(manifest, bare)
    assert truth is not None
    assert truth.shape == (bare.height, bare.width)
    assert np.unique(truth).tolist() == [IGNORED]
    manifest.save(tmp_path / "manifest.json")
    page = make_page(tmp_path, make_run(tmp_path, tmp_path / "results")).read_text()
    assert f"gallery/{bare.id}.truth.jpg" in page
    assert (tmp_path / "results/toy/gallery" / f"{bare.id}.truth.jpg").is_file()
    assert CLASSES[0] not in page  # escaped, as ever
    draw_sheet(manifest, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 600
