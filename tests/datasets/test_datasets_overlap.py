"""Scored pictures that the train split has, too: by their path, or as copies; what is said of them and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from set_folders import own_set

from patchbank.datasets import DatasetSpec, Manifest, make_spec
from patchbank.datasets.notes import notes
from patchbank.datasets.overlap import MIDDLE, Overlap, overlap
from patchbank.datasets.scan import examine
from patchbank.datasets.tiles import Tile


def sizes(*paths: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in paths}


def test_copies_have_equal_bytes_whatever_their_names(tmp_path: Path) -> None:
    """Files of one size differ in the middle, at an end or nowhere."""
    content = bytes(3 * MIDDLE)
    middle, end = bytearray(content), bytearray(content)
    middle[len(content) // 2] = end[-1] = 1
    paths = {name: tmp_path / name for name in ("train", "copy", "middle", "end", "longer", "link")}
    for name, data in zip(paths, (content, content, middle, end, content + b"\0"), strict=False):
        paths[name].write_bytes(data)
    paths["link"].symlink_to("train")
    train, *scored = paths.values()
    assert overlap(sizes(train), sizes(*scored)) == Overlap((), (paths["copy"], paths["link"]))
    assert overlap(sizes(train), sizes(*scored, train)) == Overlap((train,), (paths["copy"], paths["link"]))
    assert overlap(sizes(paths["end"]), sizes(paths["middle"], paths["longer"])) == Overlap()
    assert overlap({}, sizes(train)) == overlap(sizes(train), {}) == Overlap()


def test_a_copy_of_a_stack_or_raster_has_copies_of_its_pages_and_tiles(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("L", (9, 9), 7)])
    (tmp_path / "b.tif").write_bytes((tmp_path / "a.tif").read_bytes())
    size = (tmp_path / "a.tif").stat().st_size
    first, second, other = (tmp_path / name for name in ("a.p001.tif", "a.p002.tif", "b.p002.tif"))
    assert overlap({first: size}, {second: size, other: size}) == Overlap()
    assert overlap({first: size, second: size}, {other: size}) == Overlap((), (other,))
    left, right = (Tile(0, column, 1, 2) for column in range(2))
    a, b = tmp_path / "a.tif", tmp_path / "b.tif"
    assert overlap({left.name(a): size}, {left.name(b): size, right.name(b): size}) == Overlap((), (left.name(b),))


def noise(path: Path, seed: int, classes: int = 0) -> None:
    """A picture, or a mask of that many classes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (6, 8) if classes else (6, 8, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, classes or 256, shape, dtype=np.uint8)).save(path)


def make_set(root: Path, train: dict[str, int], val: dict[str, int], *classes: str) -> DatasetSpec:
    """A set of pictures of noise by name and seed; no folders of splits where both are the same."""
    for split, pictures in (("train", train), ("val", val)) if train is not val else (("", train),):
        for name, seed in pictures.items():
            noise(root / "images" / split / f"{name}.png", seed)
            noise(root / "masks" / split / f"{name}.png", seed, classes=2)
    return own_set(root, *classes)


SEEN = "What is trained or fitted there, `fit: train` in a table, has seen them."


def test_a_set_says_which_scored_images_are_in_train(tmp_path: Path) -> None:
    apart = examine(make_set(tmp_path / "apart", {"a": 0, "b": 1}, {"c": 2, "d": 3}, "x", "y"), workers=1)
    assert apart.notes == ()
    assert (apart.summary.in_train, apart.summary.copies) == ((), ())
    pictures = {"a": 0, "b": 1}
    flat = examine(make_set(tmp_path / "flat", pictures, pictures, "x", "y"), workers=1)
    assert flat.notes == (f"2 of 2 scored images are in split 'train', too. {SEEN}",)
    assert flat.check()["in_train"] == ("images/a.png", "images/b.png")
    assert examine(own_set(tmp_path / "flat"), workers=1).notes == (), "nothing is scored"


@pytest.mark.parametrize("quick", [False, True])
def test_copies_are_named_and_stand_in_the_manifest(tmp_path: Path, quick: bool) -> None:
    spec = make_set(tmp_path, {"a": 0, "b": 1}, {"c": 1, "d": 3}, "x", "y")
    found = examine(spec, workers=1, quick=quick)
    copied = "1 of 2 scored images is in split 'train', too, as a copy of equal bytes: images/val/c.png."
    assert found.notes == (f"{copied} {SEEN}",)
    assert found.check()["copies"] == ("images/val/c.png",)
    if found.manifest is not None:
        (ident,) = found.manifest.copies
        assert {entry.id: entry.image for entry in found.manifest.entries("val")}[ident] == "images/val/c.png"
        found.manifest.save(tmp_path / "manifest.json")
        assert Manifest.load(tmp_path / "manifest.json") == found.manifest


def test_listed_pictures_and_copies_are_counted_together(tmp_path: Path) -> None:
    spec = make_set(tmp_path, {"a": 0, "b": 1}, {"c": 1, "d": 3}, "x", "y")
    summary = replace(examine(spec, workers=1).summary, in_train=("d",), copies=("c",))
    first = next(iter(notes(spec, summary)))
    assert first == f"2 of 2 scored images are in split 'train', too, 1 of them as a copy of equal bytes. {SEEN}"


def test_lists_that_overlap_are_told(tmp_path: Path) -> None:
    for name, seed in {"a": 0, "b": 1, "c": 2}.items():
        noise(tmp_path / "JPEGImages" / f"{name}.jpg", seed)
        noise(tmp_path / "SegmentationClass" / f"{name}.png", seed, classes=2)
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nb\n")
    (lists / "val.txt").write_text("b\nc\n")
    found = examine(make_spec("v", "voc", tmp_path, classes=("x", "y")), workers=1)
    assert found.notes == (f"1 of 2 scored images is in split 'train', too: JPEGImages/b.jpg. {SEEN}",)
    assert found.manifest is not None
    assert found.manifest.copies == ()
    assert "copies" not in (found.manifest.save(tmp_path / "m.json") or (tmp_path / "m.json").read_text())
