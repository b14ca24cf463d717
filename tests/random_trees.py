"""Folders drawn at random: sets as people make them, with all that goes wrong with them. The same seed, the same tree.

`wild` sows files, folders and links anywhere; `grow` makes a set of a known layout and spoils some of them.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from random_files import SIDES, broken, mask, picture, turned

from patchbank.datasets import DatasetSpec, make_spec

FOLDERS = ("a", "b.d", "masks", "images", "train", "@eaDir", ".git", "2023", "labels", "with blank", "x" * 255)
LONG = ("x" * 255, "\U0001f408" * 62)
ODD = (*LONG, "a 'b' \"c\"", "line\nend", "caf\u00e9", "\U0001f408", "%s{0}", "-rf", "#1", "a,b", "1")
STEMS = (*ODD, "cafe\u0301", "IMG.1")
ENDS = ("", ".jpg", ".TIFF", ".txt", ".dat", ".heic", ".db", ".png")


@dataclass(frozen=True)
class Grown:
    """A set: where it lies, and what a user would say of it."""

    root: Path
    layout: str
    classes: tuple[str, ...]
    label_map: dict[Any, Any] | None

    def spec(self) -> DatasetSpec:
        """The set as configured; `UserError` where the classes contradict themselves."""
        return make_spec("mine", self.layout, self.root, classes=self.classes, label_map=self.label_map)


def wild(root: Path, draw: random.Random, folders: int = 8, files: int = 20) -> None:
    """At most `folders` folders and `files` files, links, pipes and sockets, anywhere below `root`."""
    inside = [path for path in sorted(root.rglob("*")) if path.is_dir() and not path.is_symlink()]
    tops = [root, *inside]
    for _ in range(draw.randrange(folders)):
        folder = draw.choice(tops[-3:]) / draw.choice(FOLDERS)
        if len(os.fsencode(folder)) < 1500 and not os.path.lexists(folder):
            folder.mkdir()
            tops.append(folder)
    for number in range(draw.randrange(files)):
        name = draw.choice((f"{number}", f".{number}", draw.choice(STEMS)))
        path = draw.choice(tops) / _named(name, draw.choice(ENDS))
        if not os.path.lexists(path):
            _sow(path, draw, tops)


def _named(stem: str, suffix: str) -> str:
    """A name that a file system takes."""
    return stem.encode()[: 255 - len(suffix)].decode(errors="ignore") + suffix


def _sow(path: Path, draw: random.Random, folders: list[Path]) -> None:
    match draw.randrange(20):
        case 0 | 1 | 2 | 3:
            path.symlink_to(draw.choice([*folders, "gone", path.name, "/", "..", "."]))
        case 4:
            os.mkfifo(path)
        case 5 if len(os.fsencode(path)) < 100:
            with socket.socket(socket.AF_UNIX) as opened:
                opened.bind(os.fspath(path))
        case 6:
            path.mkdir()
        case 7 | 8 | 9 | 10:
            path.write_bytes(broken(draw))
        case _:
            path.write_bytes(picture(draw)[0])


def grow(root: Path, draw: random.Random) -> Grown:
    """A set below `root`, which does not exist, as one of the layouts people use, with up to three things amiss."""
    root.mkdir(parents=True)
    count = draw.choice((*(0, 0, 1, 2, 2, 3, 4) * 4, 300))
    names = tuple(f"class {number}" for number in range(count))
    values = [*range(min(count, 4)), *([255] if draw.random() < 0.3 else [])] or [0, 1]
    label_map: dict[Any, Any] | None = None
    if count == 2 and draw.random() < 0.3:
        label_map = draw.choice(({0: "class 0", 255: "class 1"}, {1: 0, 2: 1, 0: 255}, {"0-99": 0, "100-65000": 1}))
        values = [value for value in (0, 1, 2, 255, 300) if draw.random() < 0.7] or [0]
    elif draw.random() < 0.15:
        values = draw.choice(([1, 2, 3], [255], [0, 300], [0, 17, 99, 200, 255], list(range(64))))
    layout = draw.choice(("folder",) * 4 + ("voc",))
    if layout == "voc":
        _voc(root, draw, values)
        names = names or ("class 0", "class 1")
    elif draw.random() < 0.12:
        wild(root, draw)
        names = names if draw.random() < 0.2 else ()
    else:
        _own(root, draw, values, bool(names))
    for _ in range(draw.choice((0, 0, 0, 1, 1, 2, 3))):
        draw.choice(SPOILS)(root, draw)
    return Grown(root, layout, names, label_map)


def _pairs(images: Path, masks: Path | None, draw: random.Random, values: list[int]) -> list[str]:
    """A few pictures, in sub-folders at times, with masks for most of them; their names with suffix."""
    inside = draw.choice((".", ".", ".", "2023", "a/b/c/d/e/f/g/h"))
    bare = draw.choice((0.0, 0.0, 0.3))
    stems = draw.sample((*ODD, *(f"{number:03d}" for number in range(20))), draw.randrange(1, 5))
    names = []
    for stem in stems:
        size = draw.choice(SIDES), draw.choice(SIDES)
        data, suffix = picture(draw, size)
        stem = _named(stem, ".png")[:-4]
        name = f"{inside}/{_named(stem, draw.choice((suffix, suffix, suffix, '.png', '')))}".removeprefix("./")
        _write(images / name, data)
        names.append(name)
        if masks is not None and draw.random() >= bare:
            _write(masks / f"{inside}/{stem}.png", mask(draw, turned(data, size), values))
    return names


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _own(root: Path, draw: random.Random, values: list[int], labelled: bool) -> None:
    """A folder of one's own, in one of its trees."""
    images, masks = draw.choice((("images", "masks"), ("imgs", "labels"), ("Images", "annotations")))
    with_masks = labelled or draw.random() < 0.3
    shape = draw.randrange(5)
    for split in ("train", draw.choice(("val", "val", "valid"))) if shape < 3 else ("",):
        top, below = {
            0: (root / images / split, root / masks / split),
            1: (root / split / images, root / split / masks),
            2: (root / split, root / masks / split),
            3: (root / images, root / masks),
            4: (root, root / masks),
        }[shape]
        missing = with_masks and split == "train" and draw.random() < 0.2
        _pairs(top, below if with_masks and not missing else None, draw, values)


def _voc(root: Path, draw: random.Random, values: list[int]) -> None:
    """Pascal's tree, with lists in all of their dialects."""
    variant = draw.choice((("images", "sets"), ("JPEGImages", "ImageSets/Segmentation")))
    base = root / draw.choice(("", "PVOC", "VOCdevkit/VOC2012"))
    for split in ("train", "val"):
        names = _pairs(base / variant[0], base / "SegmentationClass", draw, values)
        lines = [draw.choice((name, name.rpartition(".")[0] or name, f"{variant[0]}/{name}")) for name in names]
        if draw.random() < 0.3:
            odd = (["gone"], ["", "  "], ["# note"], ["../up"], ["/etc/passwd"], ["a\0b"], ["x 1 2"])
            lines += draw.choice((lines[:1], *odd))
        if draw.random() < 0.2:
            lines = [f"{line} {draw.choice(('1', '0', '-1'))}" for line in lines]
        data = draw.choice(("\n", "\r\n", "\r")).join(lines).encode("utf-8", "surrogateescape")
        _write(base / variant[1] / f"{split}.txt", draw.choice((b"", b"", b"\xef\xbb\xbf")) + data)


def _files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]


def _folders(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_dir() and not path.is_symlink()]


def _one(paths: list[Path], draw: random.Random) -> list[Path]:
    """One of `paths`, none where there are none."""
    return [draw.choice(paths)] if paths else []


def _file_gone(root: Path, draw: random.Random) -> None:
    for path in _one(_files(root), draw):
        path.unlink()


def _folder_gone(root: Path, draw: random.Random) -> None:
    for path in _one(_folders(root), draw):
        shutil.rmtree(path)


def _folder_is_a_file(root: Path, draw: random.Random) -> None:
    for path in _one(_folders(root), draw):
        shutil.rmtree(path)
        path.write_bytes(picture(draw)[0])


def _folder_is_a_link(root: Path, draw: random.Random) -> None:
    """Moved away and linked to, as people do with large folders."""
    for path in _one(_folders(root), draw):
        store = root.with_name(f"{root.name}-store-{draw.randrange(1 << 30)}")
        path.rename(store)
        path.symlink_to(draw.choice((store, store, path.parent, path.name)))


def _file_is_broken(root: Path, draw: random.Random) -> None:
    for path in _one(_files(root), draw):
        path.write_bytes(broken(draw))


def _file_is_a_link(root: Path, draw: random.Random) -> None:
    for path in _one(_files(root), draw):
        target = draw.choice([*_files(root), Path("gone"), Path(path.name)])
        path.unlink()
        path.symlink_to(target)


def _file_twice(root: Path, draw: random.Random) -> None:
    for path in _one(_files(root), draw):
        twin = path.with_name(path.stem[:100] + draw.choice((".bmp", ".png", ".txt", " (2)", "")))
        if not os.path.lexists(twin):
            shutil.copy(path, twin)


def _another_size(root: Path, draw: random.Random) -> None:
    for path in _one([path for path in _files(root) if path.suffix == ".png"], draw):
        path.write_bytes(mask(draw, (draw.choice(SIDES), draw.choice(SIDES)), [0, 1]))


def _sown(root: Path, draw: random.Random) -> None:
    wild(root, draw, 4, 8)


def _not_utf8(root: Path, draw: random.Random) -> None:
    for path in _one(_files(root), draw):
        path.rename(path.with_name(os.fsdecode(b"caf\xe9") + path.suffix))


def _record(root: Path, draw: random.Random) -> None:
    """A folder that says that results, or outputs of `segment`, lie in it."""
    folder = draw.choice([root, *_folders(root)])
    name, text = draw.choice((("manifest.json", '"patchbank-manifest-2"'), ("legend.json", '{"no_id": 255}')))
    (folder / name).write_text(text)


SPOILS: tuple[Callable[[Path, random.Random], None], ...] = (
    _file_gone,
    _file_gone,
    _folder_gone,
    _folder_is_a_file,
    _folder_is_a_link,
    _file_is_broken,
    _file_is_a_link,
    _file_twice,
    _another_size,
    _sown,
    _not_utf8,
    _record,
)
