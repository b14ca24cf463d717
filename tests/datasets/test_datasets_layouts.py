"""Layouts: every published tree is found, and every incomplete one is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from set_folders import names, own_set, touch, voc

from patchbank.datasets import tree_fingerprint
from patchbank.datasets.formats import without_suffix
from patchbank.datasets.layouts import layout, layout_names
from patchbank.datasets.lists import parse_list
from patchbank.datasets.manifest import find
from patchbank.errors import UserError

NAMES = st.text(st.characters(categories=["L", "N"], include_characters="_-. "), min_size=1).map(str.strip)


@given(st.lists(NAMES.filter(bool)), st.sampled_from(["\n", "\r\n", "\n\n", "\r\n \r\n"]), st.booleans())
def test_lists_read_with_any_line_ends(lines: list[str], end: str, last: bool) -> None:
    assert parse_list((end.join(lines) + (end if last else "")).encode()) == lines


def test_list_with_byte_order_mark_and_foreign_bytes() -> None:
    assert parse_list(b"\xef\xbb\xbfa\r\n  b  \r\nc\xff") == ["a", "b", "c\udcff"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.jpg", "a"), ("a.JPEG", "a"), ("a.b", "a.b"), ("2007.1.png", "2007.1"), ("a", "a"), ("a.tiff", "a")],
)
def test_only_image_suffixes_are_taken_off(name: str, stem: str) -> None:
    assert without_suffix(name) == stem


@pytest.mark.parametrize("base", ["", "PVOC/"])
def test_voc_tree_of_alignseg(tmp_path: Path, base: str) -> None:
    touch(tmp_path, *(f"{base}images/{stem}.jpg" for stem in "abc"))
    touch(tmp_path, f"{base}SegmentationClass/c.png", f"{base}SegmentationClassAug/a.png")
    touch(tmp_path, f"{base}sets/trainaug.txt", text="b.jpg\r\n\r\na")
    touch(tmp_path, f"{base}sets/val.txt", text="c\n")
    assert names(voc(tmp_path, train_split="trainaug")) == {
        "trainaug": [[f"{base}images/{s}.jpg", f"{base}SegmentationClassAug/{s}.png", None] for s in "ba"],
        "val": [[f"{base}images/c.jpg", f"{base}SegmentationClass/c.png", None]],
    }


@pytest.mark.parametrize("base", ["", "VOCdevkit/VOC2012/"])
def test_voc_tree_of_transfgu_and_of_the_archive(tmp_path: Path, base: str) -> None:
    touch(tmp_path, f"{base}JPEGImages/a.jpg", f"{base}JPEGImages/b.jpg", f"{base}SegmentationClass/b.png")
    touch(tmp_path, f"{base}ImageSets/Segmentation/train.txt", text="a")
    touch(tmp_path, f"{base}ImageSets/Segmentation/val.txt", text="b")
    assert names(voc(tmp_path)) == {
        "train": [[f"{base}JPEGImages/a.jpg", f"{base}SegmentationClass/a.png", None]],
        "val": [[f"{base}JPEGImages/b.jpg", f"{base}SegmentationClass/b.png", None]],
    }


def test_voc_listed_but_absent_image_stays_in_the_listing(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.png", "SegmentationClass/a.png")
    touch(tmp_path, "sets/train.txt", "sets/val.txt", text="a\ngone")
    assert [item[0] for item in names(voc(tmp_path))["val"]] == ["images/a.png", "images/gone.jpg"]


def test_voc_without_the_list_of_a_split_names_those_that_are_there(tmp_path: Path) -> None:
    touch(tmp_path, "JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationClassAug/a.png")
    touch(tmp_path, "ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt", text="a")
    with pytest.raises(UserError, match=r"trainaug\.txt does not exist\. Lists that are there: train, val; name one"):
        find(voc(tmp_path, train_split="trainaug"))


def test_voc_without_anything_shows_the_tree_and_the_first_missing_path(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find(voc(tmp_path / "nowhere"))
    text = str(caught.value)
    assert f"{tmp_path}/nowhere/images does not exist" in text
    assert "VOCdevkit/VOC2012" in text
    assert "host.robots.ox.ac.uk" in text
    assert "data_root" in text


@pytest.mark.parametrize(
    ("missing", "train"),
    [
        ("ImageSets/Segmentation/val.txt", "train"),
        ("SegmentationClass", "train"),
        ("JPEGImages", "train"),
    ],
)
def test_incomplete_voc_names_exactly_the_missing_path(tmp_path: Path, missing: str, train: str) -> None:
    for folder in ("JPEGImages", "SegmentationClass"):
        if folder != missing:
            touch(tmp_path, f"{folder}/a.x")
    for split in {train, "val"}:
        if f"ImageSets/Segmentation/{split}.txt" != missing:
            touch(tmp_path, f"ImageSets/Segmentation/{split}.txt", text="a")
    with pytest.raises(UserError, match=f"{tmp_path}/{missing} does not exist"):
        find(voc(tmp_path, train_split=train))


def test_two_complete_voc_trees_are_ambiguous(tmp_path: Path) -> None:
    touch(tmp_path, "SegmentationClass/a.png", "images/a.jpg", "JPEGImages/a.jpg")
    for split in ("train", "val"):
        touch(tmp_path, f"sets/{split}.txt", f"ImageSets/Segmentation/{split}.txt", text="a")
    with pytest.raises(UserError, match=f"{tmp_path}/images and {tmp_path}/JPEGImages"):
        find(voc(tmp_path))


def test_empty_list_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "SegmentationClass/a.png", "sets/train.txt", "sets/val.txt")
    with pytest.raises(UserError, match=r"sets/train\.txt names no image"):
        find(voc(tmp_path))


def test_folder_with_masks_and_instances(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/b.png", "images/train/a.jpg", "masks/train/a.png", "masks/train/b.png")
    touch(tmp_path, "images/val/c.jpg", "masks/val/c.png", "instances/val/c.png")
    touch(tmp_path, "images/train/.DS_Store", "images/train/readme.txt")
    assert names(own_set(tmp_path, "x")) == {
        "train": [
            ["images/train/a.jpg", "masks/train/a.png", None],
            ["images/train/b.png", "masks/train/b.png", None],
        ],
        "val": [["images/val/c.jpg", "masks/val/c.png", "instances/val/c.png"]],
    }


def test_folder_without_splits_or_labels(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg")
    expected = [["images/a.jpg", None, None], ["images/b.jpg", None, None]]
    assert names(own_set(tmp_path)) == {"train": expected, "val": expected}


def test_instances_need_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.jpg", "images/val/b.jpg", "instances/val/b.png", "masks/val/b.png")
    assert names(own_set(tmp_path)) == {
        "train": [["images/train/a.jpg", None, None]],
        "val": [["images/val/b.jpg", None, "instances/val/b.png"]],
    }


def test_folder_keeps_files_of_unknown_kind_so_that_the_scan_names_them(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.heic")
    assert [item[0] for item in names(own_set(tmp_path))["val"]] == ["images/a.jpg", "images/b.heic"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["x"], "{root} holds no picture; left out: files that are no pictures (1): x"),
        (["images/train/a.jpg", "masks/train/a.png"], "{root}/images/val does not exist"),
        (["images/train/a.jpg", "images/val/a.jpg"], "{root}/masks/val does not exist"),
        (["images/a.jpg", "images/train/a.jpg"], "holds folders and pictures"),
        (["images/train/.hidden", "masks/train/a.png"], "{root}/images/train holds no picture"),
        (["images/train/a.jpg", "images/train/a.png", "masks/train/a.png"], "a.jpg and a.png have the same stem"),
        (["images/train/a.jpg", "masks/train/a.png", "masks/train/a.tif"], "a.png and a.tif have the same stem"),
        (["images/train/a.jpg", "masks/train/b_gt.png"], "{root}/masks/train/b_gt.png has no picture"),
    ],
)
def test_wrong_folder_is_one_clear_error(tmp_path: Path, files: list[str], says: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(UserError) as caught:
        find(own_set(tmp_path, "x"))
    assert says.format(root=tmp_path) in str(caught.value)
    assert "instances/<split>" in str(caught.value)


def test_layouts_are_found_by_file_name() -> None:
    assert {"folder", "voc"} <= set(layout_names())
    assert all(layout(name).EXPECTED_TREE for name in layout_names())
    with pytest.raises(UserError, match=r"'vox'; known: .*voc"):
        layout("vox")


def test_tree_fingerprint_sees_every_change_that_counts(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "SegmentationClass/a.png", "SegmentationClass/b.png")
    touch(tmp_path, "sets/train.txt", text="a")
    touch(tmp_path, "sets/val.txt", text="b")
    spec = voc(tmp_path)
    seen = [tree_fingerprint(spec)]
    assert tree_fingerprint(spec) == seen[0]
    touch(tmp_path, "sets/val.txt", text="b\r\n\r\n")
    assert tree_fingerprint(spec) == seen[0]
    touch(tmp_path, "sets/val.txt", text="b\na")
    seen.append(tree_fingerprint(spec))
    touch(tmp_path, "images/a.jpg", text="other size")
    seen.append(tree_fingerprint(spec))
    touch(tmp_path, "SegmentationClass/b.png", text="mask")
    seen.append(tree_fingerprint(spec))
    (tmp_path / "SegmentationClass/a.png").unlink()
    seen.append(tree_fingerprint(spec))
    assert len(set(seen)) == len(seen)
    (tmp_path / "sets/val.txt").unlink()
    with pytest.raises(UserError, match=r"sets/val\.txt does not exist"):
        tree_fingerprint(spec)
