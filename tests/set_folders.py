"""Folders of sets in several layouts, of empty files or small pictures."""

from __future__ import annotations

import io
from pathlib import Path

from image_bytes import GREY, RGB, png
from PIL import Image

from patchbank.datasets import DatasetSpec, make_spec
from patchbank.datasets.manifest import find

SPLITS = ("train", "val")
IMAGE = png(4, 3, 8, RGB, bytes(range(36)))
MASK = png(4, 3, 8, GREY, bytes([0, 1, 255, 0] * 3))


def touch(root: Path, *names: str, text: str = "") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def voc(root: Path, **values: object) -> DatasetSpec:
    return make_spec("voc", "voc", root, table="voc", **values)  # type: ignore[arg-type]


def names(spec: DatasetSpec) -> dict[str, list[list[str | None]]]:
    """The listing with paths relative to the root."""
    return {
        split: [[None if path is None else path.relative_to(spec.root).as_posix() for path in item] for item in items]
        for split, items in find(spec).items()
    }


def own_set(root: Path, *classes: str) -> DatasetSpec:
    return make_spec("mine", "folder", root, classes=classes)


def picture(path: Path, grey: int = 0, file_format: str = "PNG") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (grey, grey, grey)).save(path, file_format)
    return path


def grey(value: int) -> bytes:
    data = io.BytesIO()
    Image.new("L", (4, 3), value).save(data, "BMP")
    return data.getvalue()


def build(root: Path, files: dict[str, bytes]) -> DatasetSpec:
    """A two-class `folder` set from a picture and a mask in each split, plus `files`."""
    content = {
        f"{kind}/{split}/ok.png": data for kind, data in (("images", IMAGE), ("masks", MASK)) for split in SPLITS
    }
    for name, data in (content | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return make_spec("mine", "folder", root, classes=("a", "b"))
