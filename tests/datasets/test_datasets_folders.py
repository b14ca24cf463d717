"""Trees of folders of one's own: other words, splits inside or outside, sub-folders; what is not read is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from set_folders import names, own_set, picture, touch

from patchbank.cli import main
from patchbank.datasets.listing import told
from patchbank.datasets.manifest import find
from patchbank.datasets.scan import examine
from patchbank.errors import UserError

TREES = {
    "ours": ("images/train", "masks/train", "images/val", "masks/val"),
    "split first": ("train/images", "train/masks", "val/images", "val/masks"),
    "u-net": ("train/image", "train/label", "val/image", "val/label"),
    "capitals": ("Images/Train", "Masks/Train", "Images/Val", "Masks/Val"),
    "img and gt": ("img/train", "gt/train", "img/validation", "gt/validation"),
    "annotations": ("images/training", "annotations/training", "images/validation", "annotations/validation"),
    "valid": ("train/imgs", "train/annotations", "valid/imgs", "valid/annotations"),
    "beside": ("train", "train_masks", "val", "val_masks"),
    "segnet": ("train", "trainannot", "val", "valannot"),
    "masks inside": ("train", "train/masks", "val", "val/masks"),
    "masks apart": ("train", "masks/train", "val", "masks/val"),
}


@pytest.mark.parametrize("tree", TREES)
def test_trees(tmp_path: Path, tree: str) -> None:
    train, train_masks, val, val_masks = TREES[tree]
    touch(tmp_path, f"{train}/a.jpg", f"{train_masks}/a.png", f"{val}/b.JPG", f"{val_masks}/b.png", "readme.txt")
    assert names(own_set(tmp_path, "x")) == {
        "train": [[f"{train}/a.jpg", f"{train_masks}/a.png", None]],
        "val": [[f"{val}/b.JPG", f"{val_masks}/b.png", None]],
    }
    unlabelled = names(own_set(tmp_path))
    assert unlabelled == {"train": [[f"{train}/a.jpg", None, None]], "val": [[f"{val}/b.JPG", None, None]]}


FLAT = {
    "in the root": ("", "masks/"),
    "images": ("images/", "masks/"),
    "img and labels": ("img/", "labels/"),
    "annotations": ("", "annotations/"),
    "gt": ("Image/", "GT/"),
}


@pytest.mark.parametrize("tree", FLAT)
def test_the_same_pictures_serve_as_both_splits(tmp_path: Path, tree: str) -> None:
    images, masks = FLAT[tree]
    touch(tmp_path, f"{images}a.png", f"{images}2023/b.png", f"{masks}a.png", f"{masks}2023/b.png")
    expected = [[f"{images}{name}.png", f"{masks}{name}.png", None] for name in ("2023/b", "a")]
    found = names(own_set(tmp_path, "x"))
    assert found == {"train": expected, "val": expected}
    assert [item[0] for item in names(own_set(tmp_path))["val"]] == [f"{images}2023/b.png", f"{images}a.png"]


def test_folders_of_classes_are_sub_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.jpg", "train/dog/a.jpg", "val/cat/b.jpg")
    assert [item[0] for item in names(own_set(tmp_path))["train"]] == ["train/cat/a.jpg", "train/dog/a.jpg"]
    touch(tmp_path / "flat", "cats/a.jpg", "dogs/a.jpg")
    assert [item[0] for item in names(own_set(tmp_path / "flat"))["val"]] == ["cats/a.jpg", "dogs/a.jpg"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["images/a.jpg", "labels/a.png", "gt/a.png"], "more than one place: {root}/gt and {root}/labels"),
        (["img/a.jpg", "image/b.jpg"], "more than one place: {root}/image and {root}/img"),
        (["train/images/a.jpg", "train/masks/a.png"], "{root}/val does not exist"),
        (["val/images/a.jpg", "val/masks/a.png", "train/masks/a.png"], "{root}/train holds no picture"),
        (["images/sub/a.jpg", "masks/a.png"], "of {root}/images/sub/a.jpg belongs into the same sub-folder of"),
        (["images/sub/a.jpg", "images/sub/a.png", "masks/sub/a.png"], "a.jpg and a.png have the same stem"),
    ],
)
def test_what_is_ambiguous_is_one_clear_error(tmp_path: Path, files: list[str], says: str) -> None:
    touch(tmp_path, *files)
    with pytest.raises(UserError) as caught:
        find(own_set(tmp_path, "x"))
    assert says.format(root=tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["notes.txt"], "{root}/set holds no picture; left out: side files (1): notes.txt"),
        ([], "{root}/set does not exist"),
    ],
)
def test_a_folder_without_pictures_is_said_to_be_one(tmp_path: Path, files: list[str], says: str) -> None:
    touch(tmp_path / "set", *files)
    with pytest.raises(UserError) as caught:
        find(own_set(tmp_path / "set"))
    assert says.format(root=tmp_path) in str(caught.value)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"a\.png is a file, not a folder"):
        find(own_set(tmp_path / "a.png"))


@pytest.mark.parametrize("ending", ["_mask", "-gt", "_gtFine_labelIds", ".mask"])
def test_masks_may_have_an_ending_more_than_their_pictures(tmp_path: Path, ending: str) -> None:
    touch(tmp_path, "images/a.jpg", "images/a_1.jpg", "images/sub/b.jpg")
    touch(tmp_path, f"masks/a{ending}.png", f"masks/a_1{ending}.png", f"masks/sub/b{ending}.png")
    pairs = [["images/a.jpg", f"masks/a{ending}.png"], ["images/a_1.jpg", f"masks/a_1{ending}.png"]]
    assert [item[:2] for item in names(own_set(tmp_path, "x"))["val"]][:2] == pairs


@pytest.mark.parametrize("masks", [["a_mask", "b_gt"], ["a_mask", "c_mask"], ["a1", "b1"], ["a", "b_mask"]])
def test_endings_that_differ_are_refused(tmp_path: Path, masks: list[str]) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", *(f"masks/{name}.png" for name in masks))
    with pytest.raises(UserError, match="has no picture"):
        find(own_set(tmp_path, "x"))


def test_words_of_folders_without_pictures_mean_nothing(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "labels/a.txt", "annotations/all.json", "gt/a.png")
    assert names(own_set(tmp_path, "x"))["val"] == [["images/a.jpg", "gt/a.png", None]]


def test_labels_among_the_pictures_are_no_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "2023/b.jpg", "2023/masks/b.png", "2023/deep/GT/c.png", "masks/a.png", "masks/2023/b.png")
    assert [item[0] for item in names(own_set(tmp_path, "x"))["val"]] == ["2023/b.jpg", "a.jpg"]
    (line,) = told(find(own_set(tmp_path, "x")).left_out, tmp_path)
    assert line == "folders of labels among the pictures (2): 2023/masks, 2023/deep/GT"


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.jpg", "images/val/b.jpg", "images/test/c.jpg", "masks/val/b.png", "preview.png")
    touch(tmp_path, "images/val/Thumbs.db", "extra/d.jpg")
    beside = "files and folders beside those that are read"
    assert list(told(find(own_set(tmp_path)).left_out, tmp_path)) == [
        "side files (1): images/val/Thumbs.db",
        f"{beside} (3): preview.png, extra, images/test",
        "folders of masks, which are read where classes are named (1): masks/val",
    ]
    assert beside in str(list(told(find(own_set(tmp_path, "x")).left_out, tmp_path)))


def test_the_check_says_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "set"
    for name in ("a.png", "2023/b.png", "@eaDir/c.png", "labels/a.png"):
        picture(root / name)
    touch(root, "notes.txt", ".DS_Store")
    (root / "2023" / "up").symlink_to("..")
    monkeypatch.chdir(tmp_path)
    assert main(["data", "check", "--folder", str(root)]) == 0
    out, err = capsys.readouterr()
    assert "train       2 " in out
    for line in (
        "left out: side files (2): @eaDir, notes.txt",
        "left out: hidden files (1): .DS_Store",
        "left out: links to folders that are read already, or that lead back (1): 2023/up",
        "left out: folders of masks, which are read where classes are named (1): labels",
    ):
        assert f"set: {line}" in err
    check = json.loads(json.dumps(examine(own_set(root)).check()))
    assert check["left_out"]["side files"] == {"count": 2, "first": ["@eaDir", "notes.txt"]}
