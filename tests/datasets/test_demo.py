"""The generated set: deterministic, exact masks, whole or not at all, readable by its own layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets import load_instances, load_labels, load_table, make_spec
from patchbank.datasets.demo import generate, render
from patchbank.datasets.demo_textures import GROUNDS, TOYS
from patchbank.datasets.scan import scan
from patchbank.errors import UserError


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "set"
    generate(folder, seed=3, train=6, val=3, size=96)
    return folder


def test_set_is_read_by_its_layout_and_table(demo: Path) -> None:
    manifest = scan(make_spec("demo", "folder", demo, table="demo"))
    assert {split: len(entries) for split, entries in manifest.splits.items()} == {"train": 6, "val": 3}
    assert manifest.labelled
    assert {(e.width, e.height) for split in manifest.splits.values() for e in split} == {(96, 96)}
    for entry in manifest.entries("val"):
        assert entry.mask is not None
        assert entry.instances is not None
        labels = load_labels(demo / entry.mask, manifest.lut)
        instances = load_instances(demo / entry.instances)
        ground = labels < len(GROUNDS)
        assert len(np.unique(labels[ground])) == 1
        np.testing.assert_array_equal(instances == 0, ground)
        for number in range(1, instances.max() + 1):
            assert len(np.unique(labels[instances == number])) <= 1


def test_table_names_grounds_then_toys() -> None:
    assert load_table("demo").classes == (*GROUNDS, *TOYS)


def test_same_seed_same_pixels_other_seed_other_pixels(demo: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", seed=3, train=2, val=1, size=96)
    for path in sorted((tmp_path / "again").rglob("*.png")):
        assert path.read_bytes() == (demo / path.relative_to(tmp_path / "again")).read_bytes()
    assert (render(3, "train", 0, 64)[0] != render(4, "train", 0, 64)[0]).any()
    assert (render(3, "train", 0, 64)[0] != render(3, "val", 0, 64)[0]).any()


def test_whole_set_has_every_class_and_several_toys_an_image() -> None:
    pictures = [render(0, "val", number, 64) for number in range(32)]
    assert {int(v) for _, classes, _ in pictures for v in np.unique(classes)} == set(range(len(GROUNDS) + len(TOYS)))
    counts = [len(np.unique(instances)) - 1 for _, _, instances in pictures]
    assert min(counts) >= 2
    assert np.mean(counts) > 3


@pytest.mark.parametrize("name", TOYS)
def test_toys_are_solid_and_fill_their_radius(name: str) -> None:
    v, u = np.mgrid[-2:2:80j, -2:2:80j]
    distance, colour = TOYS[name](u, v, np.random.default_rng(0))
    inside = distance < 0
    assert 0.15 < inside.sum() * (4 / 80) ** 2 / np.pi < 1.05
    assert np.hypot(u, v)[inside].max() < 1.25
    assert colour.shape == (80, 80, 3)
    assert colour[inside].std(axis=0).max() > 0.08


def test_masks_are_palette_files_in_the_colours_of_the_table(demo: Path) -> None:
    with Image.open(demo / "masks/val/0000.png") as mask:
        assert mask.mode == "P"
        palette = mask.getpalette()
    assert palette is not None
    assert palette[:36] == [channel for colour in load_table("demo").colours for channel in colour]


def test_older_demo_set_is_replaced_and_other_content_refused(tmp_path: Path) -> None:
    target = tmp_path / "demo"
    generate(target, train=2, val=1, size=32)
    generate(target, train=1, val=1, size=32)
    assert len(list((target / "images/train").iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(UserError, match="mine holds files that are not a demo set"):
        generate(tmp_path / "mine", train=1, val=1, size=32)
    assert (tmp_path / "mine/thesis.txt").read_text() == "x"
