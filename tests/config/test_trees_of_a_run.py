"""The fingerprint of a set's files is found once a run, by the process that plans it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trees
from PIL import Image

from patchbank.config.plan.trees import SCANS, TreesOfARun
from patchbank.datasets import make_spec
from patchbank.datasets.manifest import tree_fingerprint
from patchbank.datasets.scan import scan
from patchbank.errors import UserError
from patchbank.planned_code import FOLDER


def test_a_job_looks_at_no_file_of_the_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        path = tmp_path / "set" / "images" / "train" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), number).save(path)
    (tmp_path / "set" / "images" / "val").symlink_to("train")
    spec = make_spec("mine", "folder", "set")
    stats, stat = list[str](), os.stat

    def counted(path: Any, *given: Any, **named: Any) -> os.stat_result:
        stats.append(os.fspath(path) if not isinstance(path, int) else "")
        return stat(path, *given, **named)

    monkeypatch.setattr(os, "stat", counted)

    def looks() -> int:
        """How often files of the set were asked for since the last time."""
        count = sum(path.startswith("set") for path in stats)
        stats.clear()
        return count

    lonely = TreesOfARun(False, FOLDER)
    assert lonely.of(spec) == tree_fingerprint(spec)  # nothing was left by anybody
    assert looks() >= 60
    assert not Path(".snakemake").exists()
    planning = TreesOfARun(True, FOLDER)
    assert planning.of(spec) == planning.of(spec) == lonely.of(spec)
    assert 30 <= looks() <= 90
    assert TreesOfARun(False, FOLDER).of(spec) == lonely.of(spec)
    assert looks() == 0

    Image.new("L", (4, 5)).save("set/images/train/0.png")
    assert TreesOfARun(True, FOLDER).of(spec) != lonely.of(spec)
    assert TreesOfARun(False, FOLDER).of(spec) == TreesOfARun(True, FOLDER).of(spec)
    looks()
    other = make_spec("mine", "folder", "set", classes=["a", "b"], eval_split="train")
    with pytest.raises(UserError, match="mask"):  # another set of that name is looked at
        TreesOfARun(False, FOLDER).of(other)
    (path,) = Path(".snakemake/patchbank").iterdir()
    path.write_text("{")
    assert TreesOfARun(False, FOLDER).of(spec) == TreesOfARun(True, FOLDER).of(spec)


def test_files_with_new_times_and_the_old_bytes_leave_the_value_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for split, number in [("train", 1), ("train", 2), ("val", 3)]:
        trees.picture(Path("set/images") / split / f"{number}.png", number)
        trees.mask(Path("set/masks") / split / f"{number}.png", number, [0, 1])
    spec = make_spec("mine", "folder", "set", classes=["a", "b"])
    manifest = Path("results/mine/manifest.json")

    def planned() -> str:
        return TreesOfARun(True, FOLDER).of(spec)

    def touched() -> None:
        for path in Path("set").rglob("*.png"):
            path.write_bytes(path.read_bytes())
            os.utime(path, (1, 1))

    first = planned()
    touched()
    second = planned()
    assert second != first  # there is no manifest yet
    scan(spec, memory=SCANS).save(manifest)
    touched()
    assert planned() == planned() == TreesOfARun(False, FOLDER).of(spec) == second
    decoded = list[str]()
    monkeypatch.setattr("patchbank.datasets.scan.probe", lambda kind, path, *_: decoded.append(f"{kind} {path}"))
    scan(spec, memory=SCANS)
    assert decoded == []  # what was read to be compared is remembered
    monkeypatch.undo()

    monkeypatch.chdir(tmp_path)
    for changed in ("images/train/2.png", "masks/val/3.png"):
        before = Path("set", changed).read_bytes()
        if "masks" in changed:
            trees.mask(Path("set", changed), 9, [0, 1])
        else:
            trees.picture(Path("set", changed), 9)
        third = planned()
        assert third not in (first, second)
        scan(spec, memory=SCANS).save(manifest)
        Path("set", changed).write_bytes(before)
        assert planned() not in (first, second, third)  # the manifest is of the other file
        second = planned()
        scan(spec, memory=SCANS).save(manifest)
    for kind in ("images", "masks"):
        Path("set", kind, "train/2.png").rename(Path("set", kind, "train/4.png"))
    assert planned() != second
