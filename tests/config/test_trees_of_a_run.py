"""The fingerprint of a set's files is found once a run, by the process that plans it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import trees
from PIL import Image

from patchbank.config.plan.trees import TreesOfARun
from patchbank.datasets import make_spec
from patchbank.datasets.manifest import tree_fingerprint
from patchbank.datasets.scan import examine, scan
from patchbank.errors import UserError
from patchbank.files import write_json
from patchbank.paths import SCANS
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


SPEC = make_spec("mine", "folder", "set", classes=["a", "b"])
MANIFEST = Path("results/mine/manifest.json")


def planned() -> str:
    return TreesOfARun(True, FOLDER).of(SPEC)


def made(tree: str) -> None:
    """What stage `manifest` does where the run was planned with `tree`."""
    found = examine(SPEC, memory=SCANS)
    assert found.manifest is not None
    write_json(MANIFEST.with_name("check.json"), {**found.check(), "tree": tree})
    found.manifest.save(MANIFEST)


def touched() -> None:
    """New times and numbers for all files."""
    for path in Path("set").rglob("*.png"):
        Path(shutil.copyfile(path, "copy")).replace(path)


@pytest.fixture
def small_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of three pictures below the folder in which the test runs."""
    monkeypatch.chdir(tmp_path)
    for split, number in [("train", 1), ("train", 2), ("val", 3)]:
        trees.picture(Path("set/images") / split / f"{number}.png", number)
        trees.mask(Path("set/masks") / split / f"{number}.png", number, [0, 1])
    return tmp_path


def test_files_with_new_times_and_the_old_bytes_leave_the_value_as_it_is(
    small_set: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = planned()
    touched()
    second = planned()
    assert second != first  # there is no manifest yet
    made(second)
    assert planned() == second
    assert capsys.readouterr().err == ""
    touched()
    assert planned() == planned() == TreesOfARun(False, FOLDER).of(SPEC) == second
    assert capsys.readouterr().err.count("files look changed; whether a byte of them has") == 1
    decoded = list[str]()
    monkeypatch.setattr("patchbank.datasets.scan.probe", lambda kind, path, *_: decoded.append(f"{kind} {path}"))
    scan(SPEC, memory=SCANS)
    assert decoded == []  # what was read to be compared is remembered


def another(path: Path) -> None:
    """Another picture or mask in the place of one."""
    if "masks" in path.parts:
        trees.mask(path, 9, [0, 1])
    else:
        trees.picture(path, 9)


@pytest.mark.parametrize("changed", ["images/train/2.png", "masks/val/3.png"])
def test_another_file_and_the_first_one_again(small_set: Path, changed: str) -> None:
    value = planned()
    made(value)
    path = Path("set", changed)
    before = path.read_bytes()
    another(path)
    other = planned()
    assert other != value
    path.write_bytes(before)
    assert planned() == value  # it was only looked at
    another(path)
    made(other := planned())
    assert planned() == other != value
    path.write_bytes(before)
    assert planned() not in (value, other)


def swap() -> None:
    """Another folder in the place of the set: the files of both keep times and numbers, and look as they did before."""
    Path("set").rename("c")
    Path("b").rename("set")
    Path("c").rename("b")


@pytest.fixture
def two_sets(small_set: Path) -> None:
    """A second set, `b`, with one other picture."""
    shutil.copytree("set", "b")
    trees.picture(Path("b/images/train/2.png"), 9)


def test_folders_that_change_places_are_never_taken_for_each_other(two_sets: None) -> None:
    of_a = planned()
    made(of_a)
    swap()
    of_b = planned()
    swap()
    assert planned() == of_a != of_b
    swap()
    assert planned() == of_b
    made(of_b)
    swap()
    assert planned() != of_b


def test_files_that_change_between_plan_and_scan_are_seen(two_sets: None) -> None:
    value = planned()
    swap()
    made(value)  # of the other folder
    assert planned() == value
    swap()
    assert planned() != value, "it looks as it was planned, and the manifest is of the other folder"


@pytest.mark.parametrize("content", ["{", '{"format": "patchbank-manifest-2"}', None])
def test_a_manifest_that_cannot_be_read_is_left_to_its_stage(small_set: Path, content: str | None) -> None:
    made(planned())
    if content is None:
        MANIFEST.unlink()
        MANIFEST.mkdir()
    else:
        MANIFEST.write_text(content)
    touched()
    assert planned() == tree_fingerprint(SPEC)


def test_another_picture_is_no_file_with_new_times(small_set: Path) -> None:
    value = planned()
    made(value)
    for kind in ("images", "masks"):
        Path("set", kind, "train/2.png").rename(Path("set", kind, "train/4.png"))
    assert planned() != value
