"""How often a stage asks for the state of a file of the set: once at most, because on a network it is a request."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.images import load_image, load_raw
from patchbank.datasets.manifest import tree_fingerprint
from patchbank.datasets.scan import examine
from patchbank.datasets.spec import DatasetSpec, make_spec

PICTURES = 12


@pytest.fixture
def spec(tmp_path: Path) -> DatasetSpec:
    """Pictures with masks, one of them without, and one whose name is like a page's."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for number in range(PICTURES):
            name = f"a.p{number:03d}.png" if number == 3 else f"{number}.png"
            Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save(tmp_path / "set/images" / split / name)
            if split == "val" or number != 5:
                Image.fromarray(rng.integers(0, 3, (6, 8), np.uint8)).save(tmp_path / "set/masks" / split / name)
    return make_spec("mine", "folder", tmp_path / "set", classes=["a", "b", "c"])


@contextmanager
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each path is asked for while this is open, by `os.stat` and `os.lstat`, as pathlib asks too."""
    found: Counter[str] = Counter()

    def counted(true: Callable[..., Any]) -> Callable[..., Any]:
        def ask(path: Any, *given: Any, **named: Any) -> Any:
            if not isinstance(path, int):
                found[os.fspath(path)] += 1
            return true(path, *given, **named)

        return ask

    with monkeypatch.context() as patch:
        for name in ("stat", "lstat"):
            patch.setattr(os, name, counted(getattr(os, name)))
        yield found


def of_pictures(found: Counter[str]) -> Counter[str]:
    """Those of files that are pictures, but for the one whose name is like a page's: that may be asked twice."""
    return Counter({path: n for path, n in found.items() if path.endswith(".png") and "a.p003" not in path})


def test_a_scan_asks_once_for_each_file(spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = examine(spec, 1, memory=tmp_path / "memory")
    with looks(monkeypatch) as found:
        again = examine(spec, 1, memory=tmp_path / "memory")
    assert again.manifest == known.manifest
    asked = of_pictures(found)
    missing = {path for path in asked if not Path(path).exists()}
    assert len(missing) == 1  # the mask that is not there is asked for, and then whether it is a link to nothing
    assert sorted(asked[path] for path in asked.keys() - missing)[-2:] == [1, 2]  # the first mask: are there any?
    assert len(asked) == 2 * 2 * (PICTURES - 1)
    with looks(monkeypatch) as found:
        examine(spec, 1)
    assert max(of_pictures(found).values()) == 2  # that first mask, though every file is decoded
    assert sorted(of_pictures(found).values())[-3:] == [1, 2, 2]


def test_the_plan_of_a_run_asks_once_for_each_file(spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    with looks(monkeypatch) as found:
        tree_fingerprint(spec)
    asked = of_pictures(found)
    assert len(asked) == 2 * 2 * (PICTURES - 1)
    assert sorted(asked.values())[-2:] == [1, 2]  # the first mask: whether there are any


def test_a_job_asks_at_most_once_for_each_file_that_it_reads(
    spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = examine(spec, 1).manifest
    assert manifest is not None
    entries = manifest.entries("val")
    with looks(monkeypatch) as found:
        for entry in entries:
            load_image(manifest.root / entry.image)
            assert entry.mask is not None
            load_raw(manifest.root / entry.mask)
    assert of_pictures(found) == {}  # not even that: the state of an open file tells the same
