"""Runs of `patchbank segment` that end early, and the same command again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from inference_world import make_world, run

from patchbank.cli import INTERRUPTED
from patchbank.inference.segmenter import Segmenter


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `inference_world.make_world`."""
    return make_world(tmp_path_factory.mktemp("again"))


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_interrupt_is_a_sentence_and_leaves_whole_files(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score, seen = Segmenter.score, iter(range(9))

    def interrupted(self: Segmenter, pictures: Any) -> Any:
        if next(seen) == 3:
            raise KeyboardInterrupt
        return score(self, pictures)

    monkeypatch.setattr(Segmenter, "score", interrupted)
    assert run(world, tmp_path / "out", "--own-ids") == INTERRUPTED == 130
    assert "interrupted; complete files are kept, run again." in capsys.readouterr().err
    assert sorted(tree(tmp_path / "out")) == [
        "labels/000.png",
        "labels/001.png",
        "labels/002.png",
        "legend.json",
        "overlays/000.png",
        "overlays/001.png",
        "overlays/002.png",
    ]
    monkeypatch.undo()
    assert run(world, tmp_path / "out", "--own-ids") == 0
    assert len(tree(tmp_path / "out")) == 2 * 6 + 1


def test_the_same_command_again_goes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pictures whose outputs are all there are not computed again; one is deleted, one added, one kind asked for."""
    score, out, album = Segmenter.score, tmp_path / "out", tmp_path / "album"
    shutil.copytree(world / "data" / "images" / "val", album)
    last = (album / "005.png").rename(tmp_path / "005.png")
    seen: list[int] = []
    monkeypatch.setattr(Segmenter, "score", lambda self, pictures: seen.append(len(pictures)) or score(self, pictures))

    def computed(*more: str) -> int:
        seen.clear()
        assert run(world, out, "--own-ids", *more, paths=(album,)) == 0
        return sum(seen)

    assert computed() == 5
    first = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    capsys.readouterr()
    assert computed() == 0
    said = capsys.readouterr()
    assert f"patchbank: 5 of 5 pictures are complete in {out} and stay" in said.err
    assert f"pictures written to {out}: 5;" in said.out
    assert {path: path.stat().st_mtime_ns for path in first} == first
    shutil.copy(last, album)
    (out / "overlays" / "001.png").unlink()
    assert computed() == 2
    changed = {path for path, time in first.items() if path.stat().st_mtime_ns != time}
    assert changed == {out / kind / "001.png" for kind in ("labels", "overlays")}
    assert computed("--soft") == 6
    assert len(list((out / "soft").iterdir())) == 6
