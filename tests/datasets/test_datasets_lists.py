"""Dialects of lists: read where one thing only can be meant, else named with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from set_folders import names, touch, voc

from patchbank.datasets.manifest import find
from patchbank.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A VOC tree of four images below `VOC2012`, whose list `train` each test writes."""
    touch(tmp_path, *(f"VOC2012/JPEGImages/{name}.jpg" for name in ("a", "b", "c d", "1")))
    touch(tmp_path, *(f"VOC2012/SegmentationClass/{name}.png" for name in ("a", "b", "c d", "1")))
    touch(tmp_path, *(f"VOC2012/SegmentationClassAug/{name}.png" for name in ("a", "b")))
    touch(tmp_path, "VOC2012/ImageSets/Segmentation/val.txt", text="1\n")
    return tmp_path


def listed(root: Path, text: str) -> list[list[str | None]]:
    """The pairs of the split train, below `VOC2012`, without the image's folder."""
    (root / "VOC2012/ImageSets/Segmentation/train.txt").write_text(text)
    pairs = names(voc(root))["train"]
    return [[str(part).removeprefix("VOC2012/").removeprefix("JPEGImages/") for part in pair[:2]] for pair in pairs]


A, B = ["a.jpg", "SegmentationClass/a.png"], ["b.jpg", "SegmentationClass/b.png"]


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a.jpg",
        "JPEGImages/a.jpg",
        "/JPEGImages/a.jpg",
        "./JPEGImages/a",
        "VOC2012/JPEGImages/a.jpg",
        "VOC/devkit/JPEGImages/a.jpg",
        "JPEGImages\\a.jpg",
        "{root}/VOC2012/JPEGImages/a.jpg",
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\n\r\n"])
def test_names_with_folders_in_front(root: Path, line: str, end: str) -> None:
    text = f"\ufeff# images of train{end}{line.format(root=root)}{end}b"
    assert listed(root, text) == [A, B]


@pytest.mark.parametrize("between", [" ", "\t", ",", ", ", ";"])
@pytest.mark.parametrize("image", ["/JPEGImages/a.jpg", "a.jpg", "a"])
@pytest.mark.parametrize(
    "mask", ["/SegmentationClassAug/a.png", "SegmentationClassAug/a", "x/SegmentationClassAug/a.png"]
)
def test_two_columns_are_image_and_mask(root: Path, between: str, image: str, mask: str) -> None:
    assert listed(root, f"{image}{between}{mask}\n") == [["a.jpg", "SegmentationClassAug/a.png"]]


def test_a_mask_of_a_second_column_that_is_not_there_is_expected_in_the_folder_of_masks(root: Path) -> None:
    assert listed(root, "a.jpg gone.png") == [["a.jpg", "SegmentationClass/gone.png"]]
    assert listed(root, "a.jpg other/a.png") == [["a.jpg", "other/a.png"]]


def test_names_with_blanks_are_one_name(root: Path) -> None:
    assert listed(root, "c d\nc d.jpg\na") == [["c d.jpg", "SegmentationClass/c d.png"]] * 2 + [A]


@pytest.mark.parametrize(
    ("text", "left"), [("a  1\nb -1\n1 0\n", ["b.jpg", "1.jpg"]), ("a 1\r\nb  0\r\n", ["b.jpg"]), ("a.jpg\t1\n", [])]
)
def test_lists_of_one_class_take_what_they_mark(root: Path, text: str, left: list[str]) -> None:
    assert listed(root, text) == [A]
    left_out = find(voc(root)).left_out
    assert [one.path.name for one in left_out if one.reason == "images that train.txt marks with 0 or -1"] == left


def test_a_list_without_a_marked_image_is_an_error(root: Path) -> None:
    with pytest.raises(UserError, match=r"train\.txt marks every image with 0 or -1"):
        listed(root, "a -1\nb 0\n")


@pytest.mark.parametrize("line", ["a b 1", "a 7", "a.jpg 0.5", "a 1 1"])
def test_other_columns_are_named(root: Path, line: str) -> None:
    with pytest.raises(UserError, match=r"train\.txt: the line '.*' has \d columns.*image and mask, or image and 1"):
        listed(root, line)


@pytest.mark.parametrize("line", ["a b", "a.jpg,b.jpg"])
def test_two_images_in_a_line_are_no_image_with_its_mask(root: Path, line: str) -> None:
    with pytest.raises(UserError, match="names two images"):
        listed(root, line)


def test_names_that_leave_the_set_stay_for_the_scan_to_name(root: Path, tmp_path: Path) -> None:
    touch(tmp_path.parent, "odd.jpg")
    (root / "VOC2012/ImageSets/Segmentation/train.txt").write_text(f"../../odd\n{tmp_path.parent}/odd.jpg\n")
    found = [item[0].as_posix() for item in find(voc(root))["train"]]
    assert found == [f"{root}/VOC2012/JPEGImages/../../odd.jpg", f"{tmp_path.parent}/odd.jpg"]
