"""What scans remember, what they say of a set, and the command that shows it."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_bytes import GREY, RGB, png
from PIL import Image
from set_folders import build

from patchbank.cli import main
from patchbank.datasets import DatasetSpec
from patchbank.datasets import scan as scan_module
from patchbank.datasets.scan import examine, scan
from patchbank.errors import UserError
from patchbank.report.sheet import draw_sheet, first_by_id


@pytest.fixture
def spec(tmp_path: Path) -> DatasetSpec:
    """Two pictures in `train`, one in `val`; one mask of `train` is ignored as a whole."""
    return build(
        tmp_path / "set",
        {"images/train/b.png": png(2, 5, 8, RGB, bytes(30)), "masks/train/b.png": png(2, 5, 8, GREY, b"\xff" * 10)},
    )


def no_probe(*arguments: object) -> None:
    raise AssertionError(f"decoded again: {arguments}")


def read_names(spec: DatasetSpec, memory: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that a scan reads."""
    names: list[str] = []
    real = scan_module.probe
    monkeypatch.setattr(
        scan_module, "probe", lambda kind, path, name, *more: names.append(name) or real(kind, path, name, *more)
    )
    scan(spec, workers=1, memory=memory)
    monkeypatch.setattr(scan_module, "probe", real)
    return names


def test_a_second_scan_opens_nothing(spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = examine(spec, memory=tmp_path / "memory")
    monkeypatch.setattr(scan_module, "probe", no_probe)
    assert examine(spec, memory=tmp_path / "memory") == first
    # another label map is another manifest, and still no decoding
    swapped = replace(spec, label_map={0: 1, 1: 0})
    again = examine(swapped, memory=tmp_path / "memory")
    assert again.summary.splits["val"].pixels == (3, 6, 3)
    with pytest.raises(UserError, match=r"masks/train/ok\.png: value 1 is not in the label map"):
        scan(replace(spec, label_map={0: 1}), memory=tmp_path / "memory")


def test_only_what_changed_is_read_again(spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / "memory"
    assert len(read_names(spec, memory, monkeypatch)) == 6
    mask = spec.root / "masks/train/b.png"
    before = mask.stat()
    # the same size and the same time of modification, as `cp -p` of another version leaves them
    mask.write_bytes(png(2, 5, 8, GREY, b"\xff" * 10)[:-1] + b"\x82")
    os.utime(mask, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_names(spec, memory, monkeypatch) == ["masks/train/b.png"]


def test_bad_files_are_not_remembered_and_good_ones_are(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = spec.root / "images/val/ok.png"
    good = image.read_bytes()
    image.write_bytes(b"no")
    with pytest.raises(UserError, match="is not an image"):
        scan(spec, memory=tmp_path / "memory")
    image.write_bytes(good)
    assert read_names(spec, tmp_path / "memory", monkeypatch) == ["images/val/ok.png"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data.replace(b"[4,3,", b"[3,4,", 1), "is damaged"),
        (lambda data: data[: len(data) // 2], "is damaged"),
        (lambda data: data + b"more\n", "is damaged"),
        (lambda data: data.replace(b"patchbank-scan-3", b"patchbank-scan-0"), "another version"),
        (lambda data: data.replace(b"pillow", b"willow"), "another version"),
        (lambda data: b"", "cannot be read"),
        (lambda data: b"[1]\n", "is damaged"),
        (lambda data: b"\xff\xfe" + data, "cannot be read"),
    ],
)
def test_a_memory_that_is_not_sound_is_left_out(spec: DatasetSpec, tmp_path: Path, damage: object, says: str) -> None:
    first = examine(spec, memory=tmp_path / "memory")
    (path,) = (tmp_path / "memory").iterdir()
    sound = path.read_bytes()
    path.write_bytes(damage(sound))  # type: ignore[operator]
    notes: list[str] = []
    assert examine(spec, log=notes.append, memory=tmp_path / "memory") == first
    assert says in notes[0]
    assert "every file is decoded again" in notes[0]
    assert path.read_bytes() == sound


def test_a_memory_serves_one_folder_and_forgets_what_is_gone(spec: DatasetSpec, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    scan(spec, memory=memory)
    scan(build(tmp_path / "other" / "set", {}), memory=memory)
    assert len(list(memory.iterdir())) == 2
    for kind in ("images", "masks"):
        (spec.root / kind / "train/b.png").rename(spec.root / kind / "train/c.png")
    scan(spec, memory=memory)
    texts = [path.read_text() for path in memory.iterdir()]
    assert any("train/c.png" in text for text in texts)
    assert not any("train/b.png" in text for text in texts)


def test_summary_by_hand(spec: DatasetSpec) -> None:
    scanned = examine(replace(spec, published={"train": 2, "val": 1449}))
    found = scanned.summary
    train, val = found.splits["train"], found.splits["val"]
    assert (train.images, train.published, val.images, val.published) == (2, 2, 1, 1449)
    assert (train.narrowest, train.widest, train.lowest, train.highest) == (2, 4, 3, 5)
    # each `ok` mask is three rows of 0 1 255 0, and b.png is ten ignored pixels
    assert (train.pixels, train.occurs, train.unscored) == ((6, 3, 13), (1, 1, 2), 1)
    assert (val.pixels, val.occurs, val.unscored) == ((6, 3, 3), (1, 1, 1), 0)
    assert (train.ignored, train.absent) == (13 / 22, ())
    assert list(scanned.notes) == [
        "1 of 1 scored image is in split 'train', too, as a copy of equal bytes. What is trained or fitted there, "
        "`fit: train` in a table, has seen them.",
        "Split train: 59.1 % of the masks' pixels are ignored.",
        "Split val: 25.0 % of the masks' pixels are ignored.",
        "Split train: 1 image is ignored as a whole: images/train/b.png.",
        "1 picture is of one colour (8-bit values 0 to 0): images/train/b.png.",
        "Split val: 1 image, 1,449 are published.",
    ]
    assert json.loads(json.dumps(found.to_json()))["splits"]["train"]["pixels"] == [6, 3, 13]
    assert "255 (ignored)" in found.table()


def test_headers_alone_find_sizes_and_no_classes(spec: DatasetSpec, tmp_path: Path) -> None:
    cut = spec.root / "images/train/b.png"
    cut.write_bytes(cut.read_bytes()[:45])
    with pytest.raises(UserError, match="is truncated or damaged"):
        examine(spec, memory=tmp_path / "memory")
    found = examine(spec, memory=tmp_path / "memory", quick=True)
    assert found.manifest is None
    assert (found.summary.splits["train"].images, found.summary.splits["train"].pixels) == (2, ())
    (spec.root / "masks/val/ok.png").write_bytes(png(4, 4, 8, GREY, bytes(16)))
    with pytest.raises(UserError, match=r"masks/val/ok\.png: is 4x4, but its image is 4x3"):
        examine(spec, quick=True)


def test_sheet_shows_twelve_images_by_content_id(tmp_path: Path) -> None:
    files = {}
    for number in range(15):
        pixels = np.full((3, 4, 3), number, np.uint8)
        files[f"images/val/{number}.png"] = png(4, 3, 8, RGB, pixels.tobytes())
        files[f"masks/val/{number}.png"] = png(4, 3, 8, GREY, bytes([0, 1, 255, 0] * 3))
    manifest = scan(build(tmp_path, files))
    ids = sorted(entry.id for split in manifest.splits.values() for entry in split)
    assert [entry.id for entry in first_by_id(manifest, 12)] == ids[:12]
    for name in ("one.png", "two.png"):
        draw_sheet(manifest, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as sheet:
        colours = np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)
        assert sheet.width > 6 * 300
    assert len(colours) > 10


def check(*arguments: object) -> int:
    return main(["data", "check", *map(str, arguments)])


def test_command_on_a_folder(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check("--folder", spec.root, "--classes", "sky, sea") == 0
    shown = capsys.readouterr()
    assert "1 sea" in shown.out
    assert re.fullmatch("set-[0-9a-f]{8}.png", next(Path("results/sheets").iterdir()).name)
    assert "train 2, val 1 images, labelled" in shown.err
    assert check("--folder", spec.root, "--quick") == 0
    assert "without labels" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["voc", "demo", "mine"])
def test_a_sheet_of_a_folder_is_written_over_no_sets(
    spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "results" / name / "sheet.png"
    kept.parent.mkdir(parents=True)
    kept.write_text("the set's")
    for above in ("a", "b"):
        shutil.copytree(spec.root, tmp_path / above / name)
        assert check("--folder", tmp_path / above / name, "--classes", "sky, sea") == 0
    assert kept.read_text() == "the set's"
    assert len(list((tmp_path / "results" / "sheets").iterdir())) == 2


def test_command_names_every_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"{number:02d}" for number in range(30)]
    build(tmp_path / "set", {f"images/val/{name}.png": b"no" for name in names})
    assert check("--folder", "set", "--classes", "a,b") == 1
    error = capsys.readouterr().err
    assert all(f"images/val/{name}.png: is not an image" in error for name in names)
    assert "30 of 32 images cannot be used (30 problems): Repair these files" in error
    assert "Traceback" not in error


def test_command_finds_sets_in_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert check("msrc") == 1
    assert "data/msrc/images does not exist" in capsys.readouterr().err  # of the shipped configuration
    config = Path(__file__).parents[2] / "config.yaml"
    assert check("nosuch", "--config", config) == 1
    assert "has no set 'nosuch'; it has" in capsys.readouterr().err
    assert check("voc", "--config", config, "--data-root", tmp_path / "elsewhere") == 1
    error = capsys.readouterr().err
    assert str(tmp_path / "elsewhere" / "voc") in error
    assert "Expected below" in error
    assert check("msrc", "--config", config, "--classes", "a") == 1
    (tmp_path / "bad.yaml").write_text("a: [")
    assert check("msrc", "--config", "bad.yaml") == 1
    assert "bad.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("number", ["0", "-1", "two", "1.5"])
def test_numbers_below_one_are_usage_errors(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        check("demo", f"--workers={number}")
    assert f"argument --workers: '{number}' is no whole number above 0" in capsys.readouterr().err
