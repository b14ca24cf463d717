"""Masks whose numbers do not fit the classes: the sentence names the dialect, and the line to paste works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from snakemake.cli import parse_config

from patchbank.cli import main
from patchbank.config.load import read_config
from patchbank.datasets import load_labels, make_spec
from patchbank.datasets.dialects import numbering
from patchbank.datasets.scan import scan
from patchbank.errors import UserError


def write(root: Path, values: Any, name: str = "a") -> Path:
    """A picture and its mask (h, w)."""
    array = np.asarray(values)
    picture = Image.new("RGB", (array.shape[1], array.shape[0]))
    for kind, image in (("images", picture), ("masks", Image.fromarray(array))):
        (root / kind).mkdir(parents=True, exist_ok=True)
        image.save(root / kind / f"{name}.png")
    return root


def row(*values: int) -> Any:
    return np.array([values], np.uint8)


SMOOTH = np.concatenate([np.zeros((1, 500)), np.arange(40, 200, 8).reshape(1, -1), np.full((1, 500), 255)], 1)
THREE = np.concatenate([np.full((1, 300), v) for v in (0, 100, 200)] + [np.arange(1, 99, 7).reshape(1, -1)], 1)

CASES: dict[str, tuple[Any, list[str], str, Any]] = {
    "from 1": (row(1, 2, 2), ["a", "b"], "numbered from 1", row(0, 1, 1)),
    "from 1, class names that YAML takes for others": (row(1, 2, 3), ["no", "1", "it's, b"], "from 1", row(0, 1, 2)),
    "from 1 with 255": (row(1, 2, 255), ["a", "b"], "numbered from 1", row(0, 1, 255)),
    "one class too few": (
        row(0, 1, 2),
        ["a", "b"],
        "classes are 0 to 1: name the class of value 0 too",
        row(255, 0, 1),
    ),
    "a class too few, and one absent": (row(0, 2, 2), ["a", "b"], r"values 0, 2.*in this order", row(0, 1, 1)),
    "from 1, too few names": (row(1, 2, 3, 4), ["a", "b"], "numbered from 1.*more values than", row(0, 1, 255, 255)),
    "greys": (row(0, 128, 255), ["a", "b", "c"], "in this order", row(0, 1, 2)),
    "two greys": (row(50, 200, 200), ["a", "b"], "in this order", row(0, 1, 1)),
    "greys and nothing": (row(0, 100, 200), ["a", "b"], "ignore it", row(255, 0, 1)),
    "16 bits": (np.array([[1000, 2000]], np.uint16), ["a", "b"], "in this order", row(0, 1)),
    "smoothed": (
        SMOOTH.astype(np.uint8),
        ["a", "b"],
        r"smoothed \(antialiased.*beside the values 0, 255 they hold 20 values that cover 2\.0 %",
        (SMOOTH > 127).astype(np.uint8),
    ),
    "smoothed, three classes": (
        THREE.astype(np.uint8),
        ["a", "b", "c"],
        "ignore these edges",
        np.where(THREE % 100 == 0, THREE // 100, 255).astype(np.uint8),
    ),
    "others": (row(0, 1, 7, 9, 200), ["a", "b"], "the classes are 0 to 1: name more classes", row(0, 1, 255, 255, 255)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_line_to_paste_works(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, classes, says, expected = CASES[case]
    root = write(tmp_path / "set", values)
    with pytest.raises(UserError, match=says) as caught:
        scan(make_spec("mine", "folder", root, classes=classes))
    text = str(caught.value)
    assert "Repair these" not in text
    found = re.search(r"`label_map: (.*?)` in the set's entry", text)
    assert found is not None
    label_map = yaml.safe_load(found[1])
    manifest = scan(make_spec("mine", "folder", root, classes=classes, label_map=label_map))
    np.testing.assert_array_equal(load_labels(root / "masks/a.png", manifest.lut), expected)
    # behind a command, as a shell reads it
    typed = shlex.split(text[text.index("behind it, ") + len("behind it, ") :].splitlines()[0])
    changes = parse_config([f"folder={root}", typed[0].removesuffix(";")])
    spec = read_config(changes={**changes, "classes": classes}).spec("mine")
    np.testing.assert_array_equal(load_labels(root / "masks/a.png", spec.lut()), expected)
    value = typed[-1].removesuffix(".")
    assert yaml.safe_load(value) == label_map
    names = [name for name in classes if "," not in name]
    if names == classes:
        monkeypatch.chdir(tmp_path)
        assert main(["data", "check", "--folder", str(root), "--classes", ",".join(names), "--label-map", value]) == 0


def test_a_map_of_ones_own_is_kept_and_extended(tmp_path: Path) -> None:
    root = write(tmp_path, row(7, 8, 30))
    spec = make_spec("mine", "folder", root, classes=["a"], label_map={"7-8": "a"}, ignore=[0])
    with pytest.raises(UserError, match=r"hold 30, which the label map does not know.*\{7: a, 8: a, 0: 255, 30: 255\}"):
        scan(spec)
    wide = make_spec("mine", "folder", root, classes=["a"], label_map={"100-200": "a"})
    assert "`ignore: ['7-8', 30]` in the set's entry" in numbering(wide, {7: 1, 8: 2, 30: 1})
    assert numbering(spec, {7: 1, 8: 2, 255: 9, -1: 3}) == ""


def test_broken_files_are_still_to_be_repaired(tmp_path: Path) -> None:
    root = write(tmp_path, row(1, 2))
    write(root, row(1, 1), "b")
    (root / "images/b.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"numbered from 1.*Repair the other files"):
        scan(make_spec("mine", "folder", root, classes=["a", "b"]))


@pytest.mark.parametrize("text", ["[1, 2]", "{1: a", "", "a"])
def test_a_map_that_is_none_is_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, row(0))
    assert main(["data", "check", "--folder", str(tmp_path), "--classes", "a", "--label-map", text]) == 1
    assert f"--label-map {text!r} is no map" in capsys.readouterr().err


def test_the_lines_for_colour_masks_work(tmp_path: Path) -> None:
    root = write(tmp_path, np.array([[[0, 0, 0], [0, 128, 0], [128, 0, 0], [9, 9, 9]]], np.uint8))
    with pytest.raises(UserError, match="under 'Colour masks'"):
        scan(make_spec("mine", "folder", root, classes=["a", "b", "c"]))
    (root / "masks").rename(root / "colours")
    page = (Path(__file__).parents[2] / "docs" / "input_files.md").read_text(encoding="utf-8")
    (lines,) = re.findall("```python\n(.*?)```", page[page.index("## Colour masks") :], re.DOTALL)
    exec(lines.replace("DIR", str(root)), {})
    manifest = scan(make_spec("mine", "folder", root, classes=["a", "b", "c"]))
    np.testing.assert_array_equal(load_labels(root / "masks/a.png", manifest.lut), row(0, 2, 1, 255))
