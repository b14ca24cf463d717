"""The fingerprint of a set's files is found once a run, by the process that plans it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from patchbank.config.plan.trees import TreesOfARun
from patchbank.datasets import make_spec
from patchbank.datasets.manifest import tree_fingerprint
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
