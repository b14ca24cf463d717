"""The scan: every bad file at once, the same manifest whatever the number of workers, the real sets."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_bytes import GOOD_JPEG, GREY, RGB, exif, jpeg, png
from set_folders import IMAGE, MASK, build

from patchbank.datasets import DatasetSpec, Manifest, load_image, load_labels, make_spec, workers
from patchbank.datasets.scan import scan
from patchbank.errors import UserError
from patchbank.files import write_json


def problems(spec: DatasetSpec) -> list[str]:
    with pytest.raises(UserError) as caught:
        scan(spec, workers=1)
    return list(caught.value.details)


def test_all_bad_files_are_named_at_once_in_order(tmp_path: Path) -> None:
    spec = build(
        tmp_path,
        {
            "images/train/a_cut.jpg": GOOD_JPEG[:900],
            "masks/train/a_cut.png": MASK,
            "images/train/b_nomask.png": IMAGE,
            "images/train/c_size.png": IMAGE,
            "masks/train/c_size.png": png(3, 3, 8, GREY, bytes(9)),
            "images/train/d_rgb.png": IMAGE,
            "masks/train/d_rgb.png": IMAGE,
            "images/val/e_value.png": IMAGE,
            "masks/val/e_value.png": png(4, 3, 8, GREY, bytes([0, 7, 9, 9] * 3)),
            "images/val/f_empty.png": b"",
            "masks/val/f_empty.png": b"",
            "images/val/g_turned.jpg": jpeg(np.zeros((3, 4, 3), np.uint8), orientation=6),
            "masks/val/g_turned.png": MASK,
            "instances/val/ok.png": png(2, 2, 8, GREY, bytes(4)),
        },
    )
    found = problems(spec)
    expected = [
        "images/train/a_cut.jpg: is truncated or damaged",
        "masks/train/c_size.png: is 3x3, but its image is 4x3",
        "masks/train/d_rgb.png: is not an indexed mask",
        "masks/val/e_value.png: values 7, 9 are not in the label map (known: 0-1, 255)",
        "images/val/f_empty.png: has zero bytes",
        "masks/val/f_empty.png: has zero bytes",
        "masks/val/g_turned.png: is 4x3, but its image is 3x4; the image is turned",
        "instances/val/ok.png: is 2x2, but its image is 4x3",
    ]
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_many_problems_are_counted_and_all_are_in_the_details(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(30)]
    spec = build(tmp_path, {f"images/val/{name}.png": b"no" for name in names})
    with pytest.raises(UserError) as caught:
        scan(spec)
    assert len(caught.value.details) == 30
    assert "mine: 30 of 32 images cannot be used (30 problems)" in str(caught.value)
    assert "and 10 more" in str(caught.value)


def test_repeated_line_of_a_list_is_named(tmp_path: Path) -> None:
    for name, data in {"images/a.png": IMAGE, "SegmentationClass/a.png": MASK}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data)
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets/train.txt").write_text("a\na.png\n")
    (tmp_path / "sets/val.txt").write_text("a")
    spec = make_spec("v", "voc", tmp_path, classes=("x", "y"))
    assert problems(spec) == ["images/a.png: the list of split 'train' names it 2 times"]


def test_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    spec = replace(build(tmp_path, {}), classes=(), colours=())
    (tmp_path / os.fsdecode(b"images/val/caf\xe9.png")).write_bytes(IMAGE)
    assert problems(spec) == ["images/val/caf\\xe9.png: name is not UTF-8; rename it"]


def test_manifest_of_a_good_set(tmp_path: Path) -> None:
    turned = jpeg(np.zeros((3, 4, 3), np.uint8), orientation=6)
    spec = build(tmp_path, {"images/val/t.jpg": turned, "masks/val/t.png": png(3, 4, 8, GREY, bytes(12))})
    notes: list[str] = []
    manifest = scan(spec, log=notes.append)
    (entry,) = manifest.entries("train")
    assert entry.id == hashlib.sha256(b"images/train/ok.png\0" + IMAGE).hexdigest()[:16]
    assert (entry.image, entry.mask, entry.instances) == ("images/train/ok.png", "masks/train/ok.png", None)
    sizes = {entry.image: (entry.width, entry.height) for entry in manifest.entries("val")}
    assert sizes == {"images/val/ok.png": (4, 3), "images/val/t.jpg": (3, 4)}
    assert load_image(manifest.root / "images/val/t.jpg").size == sizes["images/val/t.jpg"]
    assert manifest.labelled
    assert "converted: EXIF orientation (1)" in notes[1]
    assert [entry.id for entry in manifest.entries("val")] == sorted(entry.id for entry in manifest.entries("val"))
    with pytest.raises(UserError, match="no split 'test'; it has train, val"):
        manifest.entries("test")


def test_mask_may_carry_its_own_orientation(tmp_path: Path) -> None:
    from image_bytes import chunk

    turned = png(4, 3, 8, GREY, bytes(12), chunk(b"eXIf", exif(6)))
    image = jpeg(np.zeros((3, 4, 3), np.uint8), orientation=6)
    manifest = scan(build(tmp_path, {"images/val/t.jpg": image, "masks/val/t.png": turned}))
    assert load_labels(tmp_path / "masks/val/t.png", manifest.lut).shape == (4, 3)


def test_unlabelled_set(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(IMAGE)
    manifest = scan(make_spec("mine", "folder", tmp_path))
    assert not manifest.labelled
    assert manifest.entries("train") == manifest.entries("val")
    assert manifest.entries("val")[0].mask is None


def test_saved_manifest_is_deterministic_and_reads_back(tmp_path: Path) -> None:
    spec = build(tmp_path / "set", {})
    manifest = scan(spec)
    for name in ("one.json", "two.json"):
        manifest.save(tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert Manifest.load(tmp_path / "one.json") == manifest
    write_json(tmp_path / "other.json", {"format": "patchbank-manifest-0"})
    with pytest.raises(UserError, match=r"other\.json is no manifest of this version"):
        Manifest.load(tmp_path / "other.json")


def test_fingerprint_covers_pictures_and_not_masks(tmp_path: Path) -> None:
    before = scan(build(tmp_path, {}))
    masks = scan(build(tmp_path, {"masks/val/ok.png": png(4, 3, 8, GREY, bytes(12))}))
    pictures = scan(build(tmp_path, {"images/val/ok.png": png(4, 3, 8, RGB, bytes(36))}))
    assert before.fingerprint("val") == masks.fingerprint("val") != pictures.fingerprint("val")
    assert before.fingerprint("train") == pictures.fingerprint("train")


def test_workers_find_the_same_as_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{kind}/val/{n:02d}.png": data for n in range(9) for kind, data in (("images", IMAGE), ("masks", MASK))}
    spec = build(tmp_path, files)
    alone = scan(spec, workers=1)
    monkeypatch.setattr(workers, "FEW", 2)
    monkeypatch.setattr(workers, "CHUNK", 2)
    assert scan(spec, workers=2) == alone
    build(tmp_path, {"masks/val/03.png": b"no", "images/val/07.png": b"no"})
    with pytest.raises(UserError) as caught:
        scan(spec, workers=2)
    assert list(caught.value.details) == problems(spec)
    assert len(caught.value.details) == 2


def test_script_without_main_guard_may_scan(tmp_path: Path) -> None:
    files = {f"{kind}/val/{n:02d}.png": data for n in range(9) for kind, data in (("images", IMAGE), ("masks", MASK))}
    build(tmp_path / "set", files)
    (tmp_path / "script.py").write_text(
        "import patchbank.datasets.workers as s\nfrom patchbank.datasets.scan import scan\n"
        "from patchbank.datasets import make_spec\nprint('started')\n"
        "s.FEW, s.CHUNK = 2, 2\n"
        f"m = scan(make_spec('x', 'folder', {str(tmp_path / 'set')!r}, classes=('a', 'b')), workers=2)\n"
        "print(len(m.entries('val')))\n"
    )
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["started", "10"]), done.stderr


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "layout", "train", "val"), [("msrc", "voc", 355, 118), ("camvid", "folder", 367, 101)]
)
def test_real_sets(real_data: Path, name: str, layout: str, train: int, val: int) -> None:
    manifest = scan(make_spec(name, layout, real_data / name, table=name), workers=1)
    assert {split: len(entries) for split, entries in manifest.splits.items()} == {"train": train, "val": val}
    assert manifest.labelled
    entry = manifest.entries("val")[0]
    assert entry.mask is not None
    assert load_image(manifest.root / entry.image).size == (entry.width, entry.height)
    labels = load_labels(manifest.root / entry.mask, manifest.lut)
    assert labels.shape == (entry.height, entry.width)
    assert set(np.unique(labels)) <= {*range(len(manifest.classes)), 255}
