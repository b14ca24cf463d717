"""Where masks and labels of an export lie beside the pictures of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from export_factory import make_segmented
from PIL import Image

from patchbank.datasets.manifest import find
from patchbank.datasets.spec import make_spec
from patchbank.errors import UserError
from patchbank.exports.beside import mask_name
from patchbank.exports.formats import FormatOptions, png, yolo_seg
from patchbank.exports.regions import RegionSettings, Taken
from patchbank.exports.source import Category, Picture, Source


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_segmented(tmp_path_factory.mktemp("segmented"))


@pytest.mark.parametrize("folder", ["images/val", "val/images", "JPEGImages", "val", "images/val/deep", "images", ""])
def test_masks_lie_where_the_layout_folder_reads_them(tmp_path: Path, folder: str) -> None:
    pictures = [f"{folder}/{name}".lstrip("/").replace("val", split) for name in "ab" for split in ("train", "val")]
    for name in {*pictures, *map(mask_name, pictures)}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 2)).save(tmp_path / f"{name}.png")
    listing = find(make_spec("x", "folder", tmp_path, classes=("a",)))
    for path, mask, _ in [*listing["train"], *listing["val"]]:
        assert mask == tmp_path / f"{mask_name(path.relative_to(tmp_path).with_suffix('').as_posix())}.png"
        assert mask.is_file()


def test_pictures_whose_labels_would_have_one_name_are_refused(out: Path, tmp_path: Path) -> None:
    def twins(first: str, second: str) -> Taken:
        labels = np.zeros((2, 2), dtype=np.int64)
        both = [Picture(name, f"{name}{suffix}", labels) for name, suffix in ((first, ".jpg"), (second, ".png"))]
        source = Source(out, "clusters", (Category("a", (1, 2, 3)),), 2, lambda: iter(both))
        return Taken(source, RegionSettings())

    with pytest.raises(UserError, match=r"a\.jpg and images/a\.png would both have their labels in masks/a;"):
        png.write(twins("a", "images/a"), tmp_path, FormatOptions())
    with pytest.raises(UserError, match=r"images/b\.jpg and images/b\.png would both have their labels in labels/b;"):
        yolo_seg.write(twins("images/b", "images/b"), tmp_path, FormatOptions())
