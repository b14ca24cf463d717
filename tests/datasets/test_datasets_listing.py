"""What counts as a picture, wherever folders are searched, and what is said of the rest."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from set_folders import grey, picture

from patchbank.datasets import load_image, make_spec, tree_fingerprint
from patchbank.datasets.formats import is_picture
from patchbank.datasets.listing import Search, alike, state_of, stem, told
from patchbank.datasets.scan import scan
from patchbank.errors import UserError
from patchbank.files import write_json
from patchbank.inference.inputs import find_inputs
from patchbank.inference.naming import own_segments
from patchbank.inference.pictures import GridSegments, PictureWriter

FORMATS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp", "PPM": ".ppm"}
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


def found(top: Path, search: Search | None = None) -> list[str]:
    return [path.relative_to(top).as_posix() for path in (search or Search()).below(top)]


@pytest.mark.parametrize("file_format", FORMATS)
def test_first_bytes_tell_a_picture_without_a_suffix(tmp_path: Path, file_format: str) -> None:
    picture(tmp_path / "IMG_0001", file_format=file_format)
    picture(tmp_path / "photo.2024", file_format=file_format)
    assert found(tmp_path) == ["IMG_0001", "photo.2024"]
    assert [one.name for one in find_inputs([tmp_path], tmp_path / "out")] == ["IMG_0001", "photo.2024"]


@pytest.mark.parametrize("data", [b"", b"BM is short for benchmark", b"PK\3\4", b"P9 4 3", b"II*", b"\0" * 64])
def test_other_first_bytes_are_no_picture(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "README").write_bytes(data)
    assert not is_picture(tmp_path / "README")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    search = Search()
    assert found(tmp_path, search) == []
    assert list(told(search.left_out, tmp_path)) == ["files that are no pictures (2): loop, pipe"]


def test_side_files_are_known_by_name_and_said(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.TIFF", "c.Jfif", "d.heic", "e.PNG"):
        picture(tmp_path / name)
    side = ("Thumbs.db", "a.jgw", "b.tiff.aux.xml", "classes.txt", "@eaDir", "__MACOSX")
    for name in (*side, ".DS_Store", "._a.JPG", "LICENSE"):
        picture(tmp_path / name / "x.png") if name in ("@eaDir", "__MACOSX") else (tmp_path / name).write_text("x")
    search = Search()
    assert found(tmp_path, search) == ["a.JPG", "b.TIFF", "c.Jfif", "d.heic", "e.PNG"]
    assert sorted(told(search.left_out, tmp_path)) == [
        "files that are no pictures (1): LICENSE",
        "hidden files (2): .DS_Store, ._a.JPG",
        "side files (6): @eaDir, Thumbs.db, __MACOSX and 3 more",
    ]


def test_links_are_followed_once(tmp_path: Path) -> None:
    top = tmp_path / "set"
    picture(top / "a.png")
    picture(top / "2023" / "b.png")
    picture(tmp_path / "store" / "c.png")
    (top / "again").symlink_to("2023")
    (top / "2023" / "round").symlink_to("..")
    (top / "up").symlink_to(tmp_path)
    (top / "other").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "back").symlink_to(top / "2023")
    (top / "d.png").symlink_to(tmp_path / "store" / "c.png")
    search = Search()
    assert found(top, search) == ["2023/b.png", "a.png", "d.png", "other/c.png"]
    (line,) = told(search.left_out, top)
    assert line.startswith("links to folders that are read already, or that lead back (4): ")
    assert [one.name for one in find_inputs([top], tmp_path / "out")] == ["2023/b", "a", "d", "other/c"]


def test_a_folder_that_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "closed" / "b.png")
    real = os.scandir

    def closed(folder: Path) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", closed)
    search = Search()
    assert found(tmp_path, search) == ["a.png"]
    assert list(told(search.left_out, tmp_path)) == ["folders that cannot be read (Permission denied) (1): closed"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.JPEG", "a"), ("a.jfif", "a"), ("2007.1", "2007.1"), (".png", ".png"), (DECOMPOSED + ".png", COMPOSED)],
)
def test_stems(name: str, expected: str) -> None:
    assert stem(name) == expected


@pytest.mark.parametrize(("image", "mask"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), (COMPOSED, COMPOSED)])
def test_images_and_masks_pair_across_unicode_forms(tmp_path: Path, image: str, mask: str) -> None:
    picture(tmp_path / "images" / f"{image}.jpg")
    (tmp_path / "masks").mkdir()
    Image.new("L", (4, 3)).save(tmp_path / "masks" / f"{mask}.png")
    (entry,) = scan(make_spec("mine", "folder", tmp_path, classes=["a"])).entries("val")
    assert (entry.image, entry.mask) == (f"images/{image}.jpg", f"masks/{mask}.png")


def test_two_unicode_forms_of_one_name_are_never_silently_one(tmp_path: Path) -> None:
    for form in (COMPOSED, DECOMPOSED):
        picture(tmp_path / "images" / f"{form}.png")
        picture(tmp_path / "masks" / f"{COMPOSED}.png")
    assert len(scan(make_spec("mine", "folder", tmp_path)).entries("val")) == 2
    with pytest.raises(UserError, match=r"'cafe\\u0301\.png' and 'caf\\xe9\.png' are one name in two Unicode forms"):
        scan(make_spec("mine", "folder", tmp_path, classes=["a"]))
    with pytest.raises(UserError, match="would both be written as"):
        find_inputs([tmp_path / "images"], tmp_path / "out")
    assert alike([Path("a.jpg"), Path("a.png")]) == "a.jpg and a.png have the same stem"


def segmented(folder: Path, name: str) -> None:
    """Outputs of `patchbank segment` for one picture."""
    writer = PictureWriter(folder, own_segments(2))
    writer(name, Image.new("RGB", (4, 3)), GridSegments(np.zeros((2, 1, 1), np.float32), np.arange(2)))
    writer.write_legend()


def test_outputs_of_segment_never_become_inputs(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    said: list[str] = []
    for out in (tmp_path / "out", tmp_path):  # beside the pictures, too
        segmented(out, "a")
        for other in (tmp_path / "elsewhere", out):
            assert [one.name for one in find_inputs([tmp_path], other, said.append)] == ["a"]
    assert "outputs of patchbank segment (2): " in said[0]
    with pytest.raises(UserError, match="overlays holds no picture; left out: outputs of patchbank segment"):
        find_inputs([tmp_path / "out" / "overlays"], tmp_path / "elsewhere")
    # copied away from their record, they still say what they are; as masks they may be used on purpose
    for kind in ("labels", "overlays"):
        with pytest.raises(UserError, match="is a picture that patchbank drew"):
            load_image(shutil.copy(tmp_path / "out" / kind / "a.png", tmp_path / f"copy_{kind}.png"))


def test_a_folder_of_that_name_without_our_record_is_an_input(tmp_path: Path) -> None:
    picture(tmp_path / "overlays" / "a.png")
    picture(tmp_path / "results" / "b.png")
    write_json(tmp_path / "legend.json", {"ids": []})
    write_json(tmp_path / "results" / "manifest.json", {"format": "another"})
    assert found(tmp_path) == ["overlays/a.png", "results/b.png"]


def test_results_are_no_inputs(tmp_path: Path) -> None:
    images = picture(tmp_path / "a.png").parent
    spec = make_spec("mine", "folder", images)
    scan(spec).save(tmp_path / "kept" / "manifest.json")
    picture(tmp_path / "kept" / "sheet.png")
    scan(spec, memory=tmp_path / "results" / ".scan")
    picture(tmp_path / "results" / "mine" / "sheet.png")
    search = Search()
    assert found(tmp_path, search) == ["a.png"]
    assert list(told(search.left_out, tmp_path)) == ["results of patchbank (2): kept, results"]
    # named by the user, such a folder is read, and what is left out of it is said
    search = Search()
    assert found(tmp_path / "kept", search) == ["sheet.png"]
    assert list(told(search.left_out, tmp_path)) == ["side files (1): kept/manifest.json"]


def replaced(path: Path, data: bytes) -> None:
    """Another file of equal size and time of modification, as `cp -p` and archives leave it."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def moved_over(path: Path, data: bytes) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(data)
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def linked(path: Path, data: bytes) -> None:
    """The folder of the file becomes a link to another version of it."""
    other = path.parent.with_name(path.parent.name + "_v2")
    shutil.copytree(path.parent, other)
    replaced(other / path.name, data)
    shutil.rmtree(path.parent)
    path.parent.symlink_to(other)


@pytest.mark.parametrize("replace", [replaced, moved_over, linked])
@pytest.mark.parametrize("kind", ["images", "masks"])
def test_equal_size_and_time_is_not_equal_content(tmp_path: Path, kind: str, replace: object) -> None:
    root = tmp_path / "set"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
        (root / name / "a.bmp").write_bytes(grey(0))
    spec = make_spec("mine", "folder", root, classes=["a", "b"])
    tree, first = tree_fingerprint(spec), scan(spec, memory=tmp_path / "memory")
    assert (tree_fingerprint(spec), scan(spec, memory=tmp_path / "memory")) == (tree, first)
    replace(root / kind / "a.bmp", grey(1))  # type: ignore[operator]
    assert tree_fingerprint(spec) != tree
    (before,), (after,) = first.entries("val"), scan(spec, memory=tmp_path / "memory").entries("val")
    assert (before.id != after.id, before.labels != after.labels) == (kind == "images", kind == "masks")


def test_what_does_not_touch_a_file_keeps_its_state(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    before = state_of(path)
    path.read_bytes()
    sorted(tmp_path.iterdir())
    shutil.copy2(path, tmp_path / "b.png")
    assert state_of(path) == before
    (tmp_path / "link.png").symlink_to("a.png")
    assert state_of(tmp_path / "link.png") == before
    assert state_of(tmp_path / "none.png") == state_of(Path("a\0b")) == ""
