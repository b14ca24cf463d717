"""Folders drawn at random go through scan, `data check`, manifest, fingerprint and the inputs of `segment`: every
picture is read or named, every number has pictures behind it, and nothing ends in a traceback."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inference_world import make_world, run
from PIL import Image
from random_trees import Grown, grow, wild

from patchbank.cli import main
from patchbank.datasets import Manifest, load_image, tree_fingerprint
from patchbank.datasets.images import load_labels, load_raw
from patchbank.datasets.listing import Search, printable, relative
from patchbank.datasets.manifest import Entry, find
from patchbank.datasets.pages import located
from patchbank.datasets.scan import Scan, examine
from patchbank.datasets.spec import DatasetSpec
from patchbank.errors import UserError
from patchbank.inference.inputs import find_inputs

SEEDS = 500
SEGMENTED = 10
"""Sets that are segmented with a real, tiny model."""


def everything(top: Path) -> Iterator[Path]:
    """Files and links below `top`; links are not followed."""
    for folder, folders, files in os.walk(top):
        yield from (Path(folder, name) for name in (*files, *(n for n in folders if Path(folder, n).is_symlink())))


def check_all_known(top: Path, inputs: set[Path], left_out: set[Path]) -> None:
    """Every file below `top` is an input or holds one as a page, or is left out by name, alone or with its folder."""
    inputs = {located(path)[0] for path in inputs}
    assert not inputs & left_out
    for path in everything(top):
        inside = path.is_symlink() and path.is_dir()  # what is read through a link has its path
        known = inside and (any(one.is_relative_to(path) for one in inputs | left_out) or not any(everything(path)))
        assert known or path in inputs or left_out & {path, *path.parents}, path


def check_manifest(spec: DatasetSpec, found: Scan) -> None:
    """Rows are files of the stated size and content; numbers are those of the files."""
    assert found.manifest is not None
    ids: dict[str, str] = {}
    for split, entries in found.manifest.splits.items():
        summary = found.summary.splits[split]
        pixels: Counter[int] = Counter()
        for entry in entries:
            assert ids.setdefault(entry.id, entry.image) == entry.image
            pixels.update(check_entry(spec, found.manifest, entry))
        assert len(entries) == summary.images > 0
        assert sum(entry.mask is None for entry in entries) == (summary.without_mask if spec.classes else len(entries))
        counted = summary.pixels or (0,) * (len(spec.classes) + 1)
        assert {label: n for label, n in zip((*range(len(spec.classes)), 255), counted, strict=True) if n} == pixels


def check_entry(spec: DatasetSpec, manifest: Manifest, entry: Entry) -> dict[int, int]:
    """Pixels of each class in the entry's mask."""
    assert load_image(manifest.root / entry.image).size == (entry.width, entry.height)
    if entry.mask is None:
        return {}
    labels = load_labels(manifest.root / entry.mask, manifest.lut)
    assert labels.shape == load_raw(manifest.root / entry.mask).shape == (entry.height, entry.width)
    return dict(zip(*(part.tolist() for part in np.unique(labels, return_counts=True)), strict=True))


def check_refused(grown: Grown, error: UserError) -> None:
    """A sentence that names something of the set; of files that cannot be decoded, every one."""
    assert str(error).startswith("mine: ") or str(grown.root) in str(error)
    if not error.details:
        return
    named = {detail.partition(": ")[0] for detail in error.details}
    for image in {item[0] for items in find(grown.spec()).values() for item in items}:
        assert not problem_of(image) or printable(relative(grown.root, image)) in named


def problem_of(path: Path) -> str:
    """Why a picture cannot be read; "" where it can."""
    try:
        assert load_image(path).mode == "RGB"
    except UserError as error:
        return str(error)
    return ""


def check_scan(grown: Grown, memory: Path, manifest: Path) -> Scan | None:
    """Scan, manifest and fingerprint; None where the set is refused."""
    try:
        spec = grown.spec()
        found = examine(spec, 1, memory=memory)
    except UserError as error:
        check_refused(grown, error)
        return None
    assert found.manifest is not None
    check_manifest(spec, found)
    assert examine(spec, 1, memory=memory) == found
    quick = examine(spec, 1, quick=True)
    assert quick.left_out == found.left_out
    assert [split.images for split in quick.summary.splits.values()] == [
        split.images for split in found.summary.splits.values()
    ]
    found.manifest.save(manifest)
    assert Manifest.load(manifest) == found.manifest
    assert tree_fingerprint(spec) == tree_fingerprint(spec)
    if grown.layout == "folder":
        used = {
            grown.root / name
            for entries in found.manifest.splits.values()
            for entry in entries
            for name in (entry.image, entry.mask, entry.instances)
            if name is not None
        }
        check_all_known(grown.root, used, {one.path for one in find(spec).left_out})
    return found


def check_command(grown: Grown, found: Scan | None, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`data check` says what the scan found, and draws its sheet."""
    named = ["--classes", ",".join(grown.classes)] if grown.classes else []
    mapped = ["--label-map", str(grown.label_map)] if grown.label_map is not None else []
    files = ["--memory", str(folder / "memory"), "--sheet", str(folder / "sheet.png"), "--workers", "1"]
    status = main(["data", "check", "--folder", str(grown.root), *named, *mapped, *files])
    said = capsys.readouterr()
    assert (status == 0) == (found is not None) == (folder / "sheet.png").exists()
    if found is not None:
        assert all(f"- {note}\n" in said.out for note in found.notes)
    else:
        assert "patchbank: " in said.err


def check_inputs(root: Path, out: Path) -> list[Path]:
    """What `segment` would read: every file is an input or said, and each input is read or named."""
    search, said = Search(), list[str]()
    below = search.below(root)
    check_all_known(root, set(below), {one.path for one in search.left_out})
    try:
        inputs = [one.path for one in find_inputs([root], out, said.append)]
    except UserError as error:
        sentence, inputs = str(error), []
    else:
        sentence = str(root)
        assert {os.path.realpath(path) for path in inputs} == {os.path.realpath(path) for path in below}
        assert bool(said) == bool(search.left_out)
    assert str(root) in sentence
    assert all(problem_of(path).partition(": ")[0] in ("", str(path)) for path in inputs)
    return inputs


@pytest.mark.exhaustive
def test_random_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    usable = 0
    for seed in range(SEEDS):
        folder = tmp_path / str(seed)
        try:
            usable += check_seed(seed, folder, capsys)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        shutil.rmtree(folder)
    assert SEEDS / 4 < usable < SEEDS * 3 / 4  # both ways are tried


def check_seed(seed: int, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """All checks on one set; whether it can be used."""
    grown = grow(folder / "set", random.Random(seed))
    found = check_scan(grown, folder / "memory", folder / "manifest.json")
    if grown.layout == "folder":
        check_command(grown, found, folder, capsys)
    check_inputs(grown.root, folder / "out")
    return found is not None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `inference_world.make_world`."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(SEGMENTED))
def test_random_sets_are_segmented(world: Path, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    grown = grow(tmp_path / "set", random.Random(seed))
    inputs = check_inputs(grown.root, tmp_path / "out")
    status = run(world, tmp_path / "out", paths=(grown.root,))
    said = capsys.readouterr()
    problems = {path: problem_of(path) for path in inputs}
    assert all(f"left out {problem}" in said.err for problem in problems.values() if problem)
    sizes = [load_image(path).size for path, problem in problems.items() if not problem]
    for kind in ("labels", "overlays"):
        assert sorted(Image.open(path).size for path in (tmp_path / "out" / kind).rglob("*.png")) == sorted(sizes)
    assert (status == 0) == (0 < len(inputs) == len(sizes))
    if inputs:
        assert f": {len(sizes)}; ids are" in said.out


@pytest.mark.parametrize("seed", range(40))
def test_every_file_is_found_or_named(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "set"
    root.mkdir()
    wild(root, random.Random(seed))
    search = Search()
    pictures = search.below(root)
    assert len(set(pictures)) == len(pictures)
    check_all_known(root, set(pictures), {one.path for one in search.left_out})
