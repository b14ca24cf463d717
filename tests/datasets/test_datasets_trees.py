"""The published trees of every set: found, paired, and refused with the expected tree where something is missing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from patchbank.datasets import DatasetSpec, make_spec
from patchbank.datasets.images import decode_image, decode_indices
from patchbank.datasets.manifest import find, tree_fingerprint
from patchbank.datasets.scan import scan
from patchbank.datasets.unusable import Unusable
from patchbank.errors import UserError

Names = dict[str, list[list[str | None]]]


def touch(root: Path, *names: str, text: str = "") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def names(spec: DatasetSpec) -> Names:
    """The listing with paths relative to the root."""
    return {
        split: [[None if path is None else path.relative_to(spec.root).as_posix() for path in item] for item in items]
        for split, items in find(spec).items()
    }


def coco(root: Path, layout: str = "coco", table: str = "coco27", **values: Any) -> DatasetSpec:
    return make_spec("coco", layout, root, table=table, **values)


def instances(root: Path, annotated: list[int], images: list[int], **layout: Any) -> None:
    """An instances json, keys of the objects in an order that COCO does not use."""
    content = {
        "info": {"description": "made"},
        "images": [{"height": 2, "id": i, "file_name": f"{i:012d}.jpg", "coco_url": "http://x"} for i in images],
        "annotations": [
            {"id": k, "segmentation": {"counts": [1, 2], "size": [2, 2]}, "category_id": 1, "image_id": i}
            for k, i in enumerate(annotated)
        ],
        "categories": [{"id": 1, "name": "person", "supercategory": "person"}],
    }
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text(json.dumps(content, **layout))


TREES = {
    "transfgu": ("images/{}/", "annotations/{}/"),
    "alignseg": ("coco/images/{}/", "annotations/annotations/stuffthingmaps_trainval2017/{}/"),
    "alignseg-code": ("images/{}/", "annotations/stuffthingmaps_trainval2017/{}/"),
    "archives": ("{}/", "stuffthingmaps_trainval2017/{}/"),
}


@pytest.mark.parametrize("tree", TREES)
def test_coco_trees(tmp_path: Path, tree: str) -> None:
    images, masks = TREES[tree]
    for split, stem in (("train2017", "a"), ("train2017", "b"), ("val2017", "c")):
        touch(tmp_path, f"{images.format(split)}{stem}.jpg", f"{masks.format(split)}{stem}.png")
    assert names(coco(tmp_path)) == {
        split: [[f"{images.format(f'{split}2017')}{s}.jpg", f"{masks.format(f'{split}2017')}{s}.png", None] for s in ss]
        for split, ss in (("train", "ab"), ("val", "c"))
    }


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("place", ["annotations", "annotations/annotations"])
def test_transfgus_coco_list_is_every_image_with_an_annotation(tmp_path: Path, place: str, indent: int | None) -> None:
    for split in ("train2017", "val2017"):
        for i in range(1, 5):
            touch(tmp_path, f"images/{split}/{i:012d}.jpg", f"annotations/{split}/{i:012d}.png")
        instances(tmp_path / place / f"instances_{split}.json", [3, 1, 3, 12], [3, 2, 1, 4, 12], indent=indent)
    found = names(coco(tmp_path, images="annotated"))["val"]
    # in the order of the file; an image that is not there stays, so that the scan names it
    assert [item[0] for item in found] == [f"images/val2017/{i:012d}.jpg" for i in (3, 1, 12)]
    assert len(names(coco(tmp_path))["val"]) == 4


def test_annotations_that_are_no_instances_file_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{kind}/{s}2017/a.x" for kind in ("images", "annotations") for s in ("train", "val")))
    path = tmp_path / "annotations" / "instances_train2017.json"
    touch(tmp_path, "annotations/instances_train2017.json", "annotations/instances_val2017.json")
    for text, says in (("", "is empty"), ('{"images": [{"file_name": }', "is not a COCO"), ("{}", "names no image")):
        path.write_text(text)
        with pytest.raises(UserError, match=f"{path}.*{says}"):
            find(coco(tmp_path, images="annotated"))


@pytest.mark.parametrize(
    "place",
    [
        "curated/{}2017/Coco164kFull_Stuff_Coarse_7.txt",
        "{}2017/Coco164kFull_Stuff_Coarse_7.txt",
        "curated/{}2017.txt",
        "{}2017_Coco164kFull_Stuff_Coarse_7.txt",
    ],
)
def test_curated_coco_lists_are_found_by_name(tmp_path: Path, place: str) -> None:
    for split in ("train", "val"):
        touch(tmp_path, *(f"images/{split}2017/{s}.jpg" for s in "abc"), f"annotations/{split}2017/a.png")
        touch(tmp_path, place.format(split), text="c\r\n\r\na")
    found = names(coco(tmp_path, images="curated"))
    assert [item[0] for item in found["val"]] == ["images/val2017/c.jpg", "images/val2017/a.jpg"]
    assert [item[1] for item in found["train"]] == ["annotations/train2017/c.png", "annotations/train2017/a.png"]


def test_alignsegs_pixel_maps(tmp_path: Path) -> None:
    stuff, thing = "stuff_annotations/stuff_{}_pixelmaps", "panoptic_annotations/semantic_segmentation_{}"
    for split in ("train2017", "val2017"):
        touch(tmp_path, f"images/{split}/a.jpg", f"annotations/{stuff.format(split)}/a.png")
    with pytest.raises(UserError, match="read with `layout: coco_stuff`"):
        find(coco(tmp_path))
    spec = coco(tmp_path, "coco_stuff", "coco27_stuff")
    assert names(spec)["val"] == [["images/val2017/a.jpg", f"annotations/{stuff.format('val2017')}/a.png", None]]
    with pytest.raises(UserError, match="semantic_segmentation_val2017 does not exist"):
        find(coco(tmp_path, "coco_thing", "coco27_things"))
    for split in ("train2017", "val2017"):
        touch(tmp_path, f"annotations/{thing.format(split)}/a.png")
    spec = coco(tmp_path, "coco_thing", "coco27_things")
    assert names(spec)["train"] == [["images/train2017/a.jpg", f"annotations/{thing.format('train2017')}/a.png", None]]


@pytest.mark.parametrize(
    ("gone", "images", "says"),
    [
        ("images/val2017/a.jpg", "all", "images/val2017 does not exist"),
        ("annotations/val2017/a.png", "all", "annotations/val2017 does not exist"),
        ("annotations/instances_val2017.json", "annotated", "annotations/instances_val2017.json does not exist"),
        ("curated/train2017.txt", "curated", "curated/train2017.txt does not exist"),
    ],
)
def test_incomplete_coco_names_the_first_missing_path(tmp_path: Path, gone: str, images: str, says: str) -> None:
    for split in ("train2017", "val2017"):
        for name in (f"images/{split}/a.jpg", f"annotations/{split}/a.png", f"curated/{split}.txt"):
            if name != gone:
                touch(tmp_path, name, text="a")
        if f"annotations/instances_{split}.json" != gone:
            instances(tmp_path / f"annotations/instances_{split}.json", [1], [1])
    with pytest.raises(UserError) as caught:
        find(coco(tmp_path, images=images))
    assert f"{tmp_path}/{says}" in str(caught.value)
    assert "stuffthingmaps_trainval2017/{train2017,val2017}/*.png" in str(caught.value)
    assert "cocodataset.org" in str(caught.value)


def test_two_places_for_one_thing_are_ambiguous(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        touch(tmp_path, f"images/{split}/a.jpg", f"{split}/a.jpg", f"annotations/{split}/a.png")
    with pytest.raises(UserError, match=f"more than one place: {tmp_path}/images/train2017 and {tmp_path}/train2017"):
        find(coco(tmp_path))


def test_a_replaced_instances_file_is_read_again(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        touch(tmp_path, *(f"{kind}/{split}/{i:012d}.png" for kind in ("images", "annotations") for i in (1, 2)))
        instances(tmp_path / f"annotations/instances_{split}.json", [1], [1, 2])
    before = tree_fingerprint(coco(tmp_path, images="annotated"))
    instances(tmp_path / "annotations/instances_val2017.json", [1, 2], [1, 2])
    assert tree_fingerprint(coco(tmp_path, images="annotated")) != before


def cityscapes(root: Path, **values: Any) -> DatasetSpec:
    return make_spec("city", "cityscapes", root, table="cityscapes19", **values)


def test_cityscapes_tree(tmp_path: Path) -> None:
    for split, place in (("train", "ulm/u_1"), ("train", "bonn/b_1"), ("val", "jena/j_1")):
        touch(tmp_path, f"leftImg8bit/{split}/{place}_leftImg8bit.png", f"gtFine/{split}/{place}_gtFine_labelIds.png")
        touch(tmp_path, f"gtFine/{split}/{place}_gtFine_color.png", f"gtFine/{split}/{place}_gtFine_polygons.json")
    assert names(cityscapes(tmp_path))["train"] == [
        [f"leftImg8bit/train/{p}_leftImg8bit.png", f"gtFine/train/{p}_gtFine_labelIds.png", None]
        for p in ("bonn/b_1", "ulm/u_1")
    ]
    assert list(names(cityscapes(tmp_path, eval_split="train"))) == ["train"]
    touch(tmp_path, "gtFine/val/jena/j_2_gtFine_labelIds.png")
    with pytest.raises(UserError, match=r"j_2_gtFine_labelIds\.png has no picture in leftImg8bit/val"):
        find(cityscapes(tmp_path))
    with pytest.raises(UserError, match="leftImg8bit/test does not exist"):
        find(cityscapes(tmp_path, eval_split="test"))


def test_lip_tree(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train_images/{s}.jpg" for s in "abc"), "val_images/d.jpg")
    touch(tmp_path, "train_segmentations/a.png", "val_segmentations/d.png")
    touch(tmp_path, "train_id.txt", text="b.jpg\r\na")
    touch(tmp_path, "val_id.txt", text="d\ngone")
    spec = make_spec("lip", "lip", tmp_path, table="lip5")
    assert names(spec) == {
        "train": [[f"train_images/{s}.jpg", f"train_segmentations/{s}.png", None] for s in "ba"],
        "val": [[f"val_images/{s}.jpg", f"val_segmentations/{s}.png", None] for s in ("d", "gone")],
    }
    (tmp_path / "val_id.txt").unlink()
    with pytest.raises(UserError, match=f"{tmp_path}/val_id.txt does not exist"):
        find(spec)


def test_movi_pairs_images_and_masks_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "frames/f.png", "images/b.png", "images/a.jpg", "masks/a.png", "masks/b.png")
    spec = make_spec("movi_c", "movi", tmp_path, table="movi")
    assert names(spec) == {
        "train": [["frames/f.png", None, None]],
        "val": [["images/a.jpg", None, "masks/a.png"], ["images/b.png", None, "masks/b.png"]],
    }
    touch(tmp_path, "masks/c.png")
    with pytest.raises(UserError, match=r"masks/c\.png has no picture c\.\* in images"):
        find(spec)
    (tmp_path / "masks/c.png").unlink()
    (tmp_path / "masks/a.png").unlink()
    assert names(spec)["val"][0] == ["images/a.jpg", None, "masks/a.png"]  # the scan names it
    with pytest.raises(UserError, match="no split 'test', only train and val"):
        find(make_spec("movi_c", "movi", tmp_path, table="movi", eval_split="test"))


def mat(**arrays: Any) -> bytes:
    file = io.BytesIO()
    savemat(file, arrays)
    return file.getvalue()


def test_potsdam_tiles_are_matlab_files_and_lists_are_iics(tmp_path: Path) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 4), dtype=np.uint8)
    for index, tile in enumerate(tiles):
        touch(tmp_path, f"imgs/{index}.mat", f"gt/{index}.mat")
        (tmp_path / f"imgs/{index}.mat").write_bytes(mat(img=tile))
        (tmp_path / f"gt/{index}.mat").write_bytes(mat(gt=np.full((6, 5), 2 * index, np.int32)))
    touch(tmp_path, "labelled_train.txt", text="0\n2\n")
    touch(tmp_path, "labelled_test.txt", "unlabelled_train.txt", text="1")
    spec = make_spec("potsdam3", "potsdam", tmp_path, table="potsdam3")
    assert names(spec)["train"] == [[f"imgs/{i}.mat", f"gt/{i}.mat", None] for i in (0, 2)]
    assert [(entry.width, entry.height) for entry in scan(spec).entries("val")] == [(5, 6)]
    assert (np.asarray(decode_image((tmp_path / "imgs/1.mat").read_bytes()).image) == tiles[1, ..., :3]).all()
    assert set(decode_indices((tmp_path / "gt/2.mat").read_bytes()).ravel().tolist()) == {4}
    other = make_spec("potsdam3", "potsdam", tmp_path, table="potsdam3", train_split="unlabelled_train")
    assert names(other)["unlabelled_train"] == [["imgs/1.mat", None, None]]
    with pytest.raises(UserError, match=r"all\.txt does not exist"):
        find(make_spec("potsdam3", "potsdam", tmp_path, table="potsdam3", train_split="all"))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (mat(a=np.zeros((2, 2), int), b=np.zeros((2, 2), int)), "2 variables"),
        (mat(a=np.full((2, 2), 256)), "'a' is no"),
        (mat(a=np.zeros((2, 2), float)), "'a' is no"),
        (mat(a=np.zeros((2, 2, 2), int)), "'a' is no"),
        (mat(a="text"), "'a' is no"),
        (mat(a=np.zeros((9, 9), np.uint8))[:150], "could not read bytes"),
    ],
)
def test_other_matlab_files_are_refused_with_the_reason(data: bytes, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        decode_indices(data)


def test_a_folder_of_pictures_alone(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a.PNG", "notes.txt", "odd.heic", "masks/a.png", "masks/b.png")
    spec = make_spec("mine", "folder", tmp_path)
    expected = [[name, None, None] for name in ("a.PNG", "b.jpg", "odd.heic")]
    assert names(spec) == {"train": expected, "val": expected}
    labelled = make_spec("mine", "folder", tmp_path, classes=("x",))
    assert names(labelled)["val"][0] == ["a.PNG", "masks/a.png", None]
    assert make_spec("mine", "folder", tmp_path, eval_split="train").splits == ("train",)


def test_an_unknown_raw_value_is_an_error_that_names_file_and_value(tmp_path: Path) -> None:
    for name, value in (("a", 3), ("b", 200)):
        touch(tmp_path, f"{name}.png", f"masks/{name}.png")
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
        Image.new("L", (4, 4), value).save(tmp_path / f"masks/{name}.png")
    spec = make_spec("mine", "folder", tmp_path, classes=("x", "y"), label_map={"0-3": "y"}, ignore=["10-19"])
    with pytest.raises(UserError, match=r"masks/b\.png: value 200 is not in the label map \(known: 0-3, 10-19, 255\)"):
        scan(spec)
