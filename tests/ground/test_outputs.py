"""Nothing of another run, or of the user, is written over in silence: folders of pictures, files, trainings, sheets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from patchbank.checkpoints.store import load_checkpoint, save_checkpoint
from patchbank.checkpoints.torch_files import save_torch
from patchbank.cli import main
from patchbank.errors import UserError
from patchbank.inference.folder import check_folder
from patchbank.inference.inputs import find_inputs
from patchbank.inference.naming import own_segments
from patchbank.inference.pictures import GridSegments, PictureWriter
from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.published import write_reference
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.outputs import claim_folder, output_file

RUN = {"checkpoint": "a" * 16, "weights": "b" * 16, "clusters": None, "size": 448, "upsample": "bilinear"}


def segment(album: Path, out: Path, segments: int = 2, soft: bool = True, **other: Any) -> None:
    """What `patchbank segment` does with its folder, without an encoder."""
    inputs = find_inputs([album], out)
    sources = {one.name: one.path for one in inputs}
    writer = PictureWriter(out, own_segments(segments), soft=soft, run={**RUN, **other}, sources=sources)
    check_folder(writer, inputs)
    writer.write_legend()
    for one in inputs:
        grid = GridSegments(np.zeros((segments, 1, 1), np.float32), np.arange(segments))
        writer(one.name, Image.open(one.path).convert("RGB"), grid)


def picture(path: Path, colour: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (colour, 0, 0)).save(path)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(album: Path, out: Path, **other: Any) -> str:
    """The sentence; nothing in `out` has changed."""
    before = tree(out)
    with pytest.raises(UserError) as caught:
        segment(album, out, **other)
    assert tree(out) == before
    assert "delete" not in str(caught.value).lower()
    return str(caught.value)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    picture(tmp_path / "album" / "one.png", 1)
    picture(tmp_path / "album" / "sea" / "two.png", 2)
    return tmp_path / "album"


def test_the_same_command_goes_on(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment(album, out)
    first = tree(out)
    assert len(first) == 7
    (out / "overlays" / "one.png").unlink()
    (out / "notes.txt").write_text("mine")
    segment(album, out)
    assert tree(out) == {**first, "notes.txt": b"mine"}


def test_pictures_join_under_names_of_their_own_only(album: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    segment(album, out, soft=False)
    picture(tmp_path / "more" / "three.png", 3)
    segment(tmp_path / "more", out)
    assert (out / "labels" / "three.png").is_file()
    picture(tmp_path / "others" / "one.png", 9)
    said = refused(tmp_path / "others", out)
    assert f"{out / 'labels' / 'one.png'} was made of another picture than {tmp_path / 'others' / 'one.png'}" in said
    picture(out / "labels" / "sea" / "two.png", 0)  # a picture of the user's in the place of ours
    assert str(out / "labels" / "sea" / "two.png") in refused(album, out)
    for content in (b"", b"PK\x03\x04", b"text"):
        (out / "soft" / "three.npz").write_bytes(content)
        assert str(out / "soft" / "three.npz") in refused(tmp_path / "more", out)
    np.savez(out / "soft" / "three.npz", a=[1])
    assert str(out / "soft" / "three.npz") in refused(tmp_path / "more", out)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"checkpoint": "c" * 16}, "(other checkpoint)"),
        ({"clusters": "d" * 16, "size": 224}, "(other clusters, size: 448, now 224)"),
        ({"upsample": "nearest"}, "(other upsample: bilinear, now nearest)"),
        ({"segments": 3}, "(other ids)"),
    ],
)
def test_a_folder_of_another_run_is_refused(album: Path, tmp_path: Path, other: dict[str, Any], said: str) -> None:
    segment(album, tmp_path / "out")
    sentence = refused(album, tmp_path / "out", **other)
    assert f"--out {tmp_path / 'out'} holds what another run of `patchbank segment` wrote {said}; it stays" in sentence
    assert "name another folder with --out" in sentence


def test_folders_that_no_run_of_ours_noted_are_refused(album: Path, tmp_path: Path) -> None:
    picture(tmp_path / "set" / "labels" / "one.png", 7)
    assert "has a folder 'labels' (one.png) that `patchbank segment` did not write" in refused(album, tmp_path / "set")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "legend.json").write_text("[]")
    assert "holds a legend.json that `patchbank segment` did not write" in refused(album, tmp_path / "web")
    segment(album, tmp_path / "old")
    legend = json.loads((tmp_path / "old" / "legend.json").read_text())
    del legend["run"]
    (tmp_path / "old" / "legend.json").write_text(json.dumps(legend))
    assert "other version of patchbank, which did not note its settings" in refused(album, tmp_path / "old")


@pytest.mark.parametrize("where", [".", "sea", "new/folder"])
def test_outputs_in_the_folder_of_the_pictures_touch_none_of_them(album: Path, where: str) -> None:
    before = tree(album)
    for _ in range(2):
        segment(album, album / where)
    after = tree(album)
    assert {name: after[name] for name in before} == before
    assert len([name for name in after if "labels/" in name]) == (1 if where == "sea" else 2)


def test_files_are_written_over_by_the_same_only(tmp_path: Path) -> None:
    def write(text: str, overwrite: bool = False) -> None:
        with output_file(tmp_path / "new" / "a.txt", overwrite) as target:
            target.write_text(text)
            target.with_suffix(".json").write_text("{}")

    for _ in range(2):
        write("one")
    assert tree(tmp_path) == {"new/a.txt": b"one", "new/a.json": b"{}"}
    with pytest.raises(UserError, match=r"a\.txt is there already \(a text file \(txt\)\).*Give another --out"):
        write("two")
    (tmp_path / "new" / "a.json").write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r"a\.json is there already"):
        write("one")
    assert tree(tmp_path) == {"new/a.txt": b"one", "new/a.json": b'{"mine": 1}'}
    write("two", overwrite=True)
    assert tree(tmp_path) == {"new/a.txt": b"two", "new/a.json": b"{}"}
    with pytest.raises(UserError, match=r"new is a folder; name a file"), output_file(tmp_path / "new", True):
        raise AssertionError("nothing is computed for it")
    with pytest.raises(ValueError, match="stop"), output_file(tmp_path / "never" / "b.txt") as target:
        target.write_text("half")
        raise ValueError("stop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_a_folder_belongs_to_one_training(tmp_path: Path) -> None:
    out, names = tmp_path / "out", ("checkpoint.safetensors", "steps.csv")
    claim_folder(out, "training.json", {"seed": 0, "sizes": (1, 2)}, names)
    claim_folder(out, "training.json", {"seed": 1, "sizes": (1, 2)}, names)  # the first one wrote nothing
    (out / "steps.csv").write_text("loss\n")
    claim_folder(out, "training.json", {"seed": 1, "sizes": (1, 2)}, names)
    with pytest.raises(UserError, match=r"out holds steps\.csv of a run of other seed; name another folder, or"):
        claim_folder(out, "training.json", {"seed": 2, "sizes": (1, 2)}, names)
    (out / "training.json").write_text("no JSON")
    with pytest.raises(UserError, match=r"out holds steps\.csv of a run that training\.json does not name"):
        claim_folder(out, "training.json", {"seed": 1, "sizes": (1, 2)}, names)
    claim_folder(out, "training.json", {"seed": 2}, names, overwrite=True)
    assert json.loads((out / "training.json").read_text()) == {"seed": 2}


def test_published_checkpoints_are_written_over_by_the_same_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = AlignSegSettings(queries=4, heads=2, hidden=16, decoder="reference", centre="none")
    published, ours, again = (str(tmp_path / name) for name in ("p.pth", "ours.safetensors", "again.pth"))
    write_reference(published, QueryDecoder(8, settings).state_dict(), epoch=3)
    import_, export = ["import", "alignseg", published, "--out", ours], ["export", "alignseg", ours, "--out", again]
    for command in ([*import_, "--heads", "2"], export):
        for _ in range(2):
            assert main(command) == 0
    capsys.readouterr()
    assert main([*import_, "--heads", "4"]) == 1
    assert "ours.safetensors is there already (a checkpoint of alignseg)" in capsys.readouterr().err
    assert load_checkpoint(ours)[1]["settings"]["heads"] == 2
    assert main([*import_, "--heads", "4", "--overwrite"]) == 0
    assert load_checkpoint(ours)[1]["settings"]["heads"] == 4
    before = Path(published).read_bytes()
    assert main(["export", "alignseg", ours, "--out", published]) == 1
    assert "p.pth is there already (a torch checkpoint)" in capsys.readouterr().err
    assert Path(published).read_bytes() == before
    assert main(["import", "alignseg", published, "--heads", "2", "--out", str(tmp_path / "a.json")]) == 1
    assert "ends in .safetensors" in capsys.readouterr().err


def test_equal_torch_files_are_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.pth", "b.pth"):
        save_torch(tmp_path / name, {"weight": torch.arange(3)})
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_a_sheet_is_written_over_by_that_of_the_same_set_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def check(folder: str, sheet: Path, *more: str) -> int:
        named = ["--folder", str(tmp_path / folder), "--memory", str(tmp_path / "m"), "--workers", "1"]
        return main(["data", "check", *named, "--sheet", str(sheet), *more])

    sheet, mine = tmp_path / "new" / "sheet.png", picture(tmp_path / "mine.png", 5)
    picture(tmp_path / "a" / "images" / "x.png", 1)
    picture(tmp_path / "b" / "images" / "x.png", 2)
    assert check("a", sheet) == 0
    first = sheet.read_bytes()
    picture(tmp_path / "a" / "images" / "y.png", 3)
    assert check("a", sheet) == 0
    assert sheet.read_bytes() != first
    for other in (sheet, mine):
        before = other.read_bytes()
        assert check("b", other) == 1
        assert "(a picture) and is not what this command writes; it stays as it is." in capsys.readouterr().err
        assert other.read_bytes() == before
    assert check("b", mine, "--overwrite") == 0
    assert check("b", tmp_path / "a") == 1
    assert "is a folder; name a file" in capsys.readouterr().err


def test_a_checkpoint_of_another_kind_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c.safetensors", {"a": torch.ones(1)}, {"method": "kmeans"})
    with (
        pytest.raises(UserError, match=r"\(a checkpoint of kmeans\)"),
        output_file(tmp_path / "c.safetensors") as target,
    ):
        target.write_text("another")
