"""Whole sets: archives in the official trees, served small; archives that must not be unpacked."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest
from archives import ARCHIVES, VOC, tarred, zipped
from web_server import Page, Server

from patchbank.alive import Process
from patchbank.cli import main
from patchbank.datasets import make_spec
from patchbank.datasets.manifest import find
from patchbank.errors import UserError
from patchbank.fetch import Archive, FetchTable, fetch, load_fetch_table, sets, table_names
from patchbank.fetch.download import Expected
from patchbank.fetch.unpack import BadArchive, unpack
from patchbank.leases import Leases, lease_file

SPLITS = ("train", "val")
ELSEWHERE = Process("far", "0123abcd", 1, 5)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    yield server
    server.close()


def local(server: Server, name: str, **pages: Page) -> FetchTable:
    """The real table, with addresses on the test's server and what is true of its small archives."""
    table = load_fetch_table(name)
    archives = []
    for archive in table.archives:
        body = ARCHIVES[archive.name]
        server.pages[f"/{archive.name}"] = pages.get(archive.name.split("_")[0].split(".")[0], Page(body))
        known = archive.expected.algorithm
        expected = Expected(len(body), known, hashlib.new(known, body).hexdigest()) if known else Expected()
        archives.append(replace(archive, url=server.url(f"/{archive.name}"), expected=expected))
    return replace(table, archives=tuple(archives))


def bring(table: FetchTable, root: Path) -> None:
    fetch(table, root, lambda seconds: None)


def tree(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_voc_arrives_in_a_tree_that_the_layout_knows(server: Server, tmp_path: Path) -> None:
    body = ARCHIVES["VOCtrainval_11-May-2012.tar"]
    table = local(server, "voc", VOCtrainval=Page(body, cuts=[5000, 100]))
    bring(table, tmp_path)
    assert not (tmp_path / "voc" / ".fetch").exists()
    listing = find(make_spec("voc", "voc", tmp_path / "voc", table="voc", train_split="trainaug"))
    base = tmp_path / "voc" / VOC
    assert [item[:2] for item in listing["trainaug"]] == [
        (base / f"JPEGImages/{stem}.jpg", base / f"SegmentationClassAug/{stem}.png") for stem in "abc"
    ]
    assert len(listing["val"]) == 1
    assert all(path.stat().st_size for path in base.rglob("*") if path.is_file())
    # again: nothing is asked for
    for page in server.pages.values():
        page.requests.clear()
    before = tree(tmp_path)
    bring(table, tmp_path)
    assert tree(tmp_path) == before
    assert not any(page.requests for page in server.pages.values())


def test_coco_arrives_in_transfgus_tree(server: Server, tmp_path: Path) -> None:
    bring(local(server, "coco"), tmp_path)
    assert tree(tmp_path / "coco") == sorted(
        [
            *(f"images/train2017/{number:012d}.jpg" for number in range(3)),
            "images/val2017/000000000009.jpg",
            *(f"annotations/train2017/{number:012d}.png" for number in range(3)),
            "annotations/val2017/000000000009.png",
            *(f"annotations/instances_{split}2017.json" for split in ("train", "val")),
            *(f"curated/{split}2017/Coco164kFull_Stuff_Coarse_7.txt" for split in ("train", "val")),
        ]
    )


def test_what_is_there_is_left_alone(server: Server, tmp_path: Path) -> None:
    own = tmp_path / "coco" / "annotations" / "train2017" / "own.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"own")
    bring(local(server, "coco"), tmp_path)
    assert tree(own.parent) == ["own.png"]
    assert tree(tmp_path / "coco" / "annotations" / "val2017") == ["000000000009.png"]


def test_an_interrupted_fetch_goes_on(server: Server, tmp_path: Path) -> None:
    body = ARCHIVES["VOCtrainval_11-May-2012.tar"]
    page = Page(body, cuts=[7000] + [0] * 9)
    table = local(server, "voc", VOCtrainval=page)
    with pytest.raises(UserError, match="nothing new"):
        bring(table, tmp_path)
    (tmp_path / "voc" / ".fetch" / "unpack-killed" / "VOCdevkit").mkdir(parents=True)
    assert not (tmp_path / "voc" / "VOCdevkit").exists()
    page.cuts.clear()
    bring(table, tmp_path)
    assert page.sent == len(body)
    assert not (tmp_path / "voc" / ".fetch").exists()


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    body = ARCHIVES["VOCtrainval_11-May-2012.tar"]
    table = local(server, "voc", VOCtrainval=Page(body[:-1] + b"x"))
    with pytest.raises(UserError, match="md5 is"):
        bring(table, tmp_path)
    assert tree(tmp_path) == []


def test_a_page_instead_of_an_archive_is_said_and_removed(server: Server, tmp_path: Path) -> None:
    table = local(server, "voc", SegmentationClassAug=Page(b"<!DOCTYPE html><title>Sign in</title>"))
    with pytest.raises(UserError, match=r"is neither zip nor tar; it begins with '<!DOCTYPE html>"):
        bring(table, tmp_path)
    assert not list((tmp_path / "voc").glob(".fetch/*"))
    bring(local(server, "voc"), tmp_path)
    assert (tmp_path / "voc" / VOC / "ImageSets/Segmentation/trainaug.txt").read_text() == "a\nb\nc\n"


@pytest.mark.parametrize("name", ["cityscapes", "lip"])
def test_sets_behind_a_log_in_name_the_page(name: str, tmp_path: Path) -> None:
    table = load_fetch_table(name)
    with pytest.raises(UserError, match=f"{name} cannot be fetched from here. Go to {table.page}"):
        fetch(table, tmp_path)
    assert tree(tmp_path) == []


def test_one_process_at_a_time(server: Server, tmp_path: Path) -> None:
    work = tmp_path / "voc" / ".fetch"
    work.mkdir(parents=True)
    unpacked = work / "unpack-other" / "file"
    unpacked.parent.mkdir()
    unpacked.touch()
    with Leases() as leases:
        assert leases.take(work / "set")
        with pytest.raises(UserError, match=r"Another process fetches to .*process [0-9]+ on .*; wait for it"):
            bring(local(server, "voc"), tmp_path)
    assert unpacked.exists()  # what the other one unpacks is left to it


@pytest.mark.parametrize("last", [False, True])
def test_who_lost_the_set_to_another_process_publishes_no_part_of_it(
    last: bool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was cut off for minutes, so that its lease seemed dead, and what it had unpacked was removed."""
    body = zipped({"a/f": b"1", "a/deep/g": b"2", "a/h": b"3"})
    server.pages["/a.zip"] = Page(body)
    table = FetchTable("x", "x", "http://x", (Archive(server.url("/a.zip"), "a.zip", {"a": "a"}, Expected()),))
    work, copy = tmp_path / "x" / ".fetch", shutil.copyfileobj
    copied: list[int] = []

    def cut_off(source: IO[bytes], target: IO[bytes]) -> None:
        copy(source, target)
        copied.append(1)
        if len(copied) == (3 if last else 1):
            (folder,) = work.glob("unpack-*")
            folder.rename(folder.with_name(f"unpack-{ELSEWHERE}.x"))  # for the other one a process that is far away
            lease_file(work / "set").unlink()
            sets._sweep(work)
            assert len(list(work.glob("unpack-*"))) == 1  # and which may live
            os.utime(work / f"unpack-{ELSEWHERE}.x", (1, 1))
            for path in (work / f"unpack-{ELSEWHERE}.x").rglob("*"):
                os.utime(path, (1, 1))
            sets._sweep(work)
            assert list(work.glob("unpack-*")) == []

    monkeypatch.setattr("patchbank.fetch.unpack.shutil.copyfileobj", cut_off)
    with pytest.raises(UserError, match="was removed by another process" if last else "cannot be unpacked to"):
        bring(table, tmp_path)
    assert tree(tmp_path) == ["x/.fetch/a.zip"]
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "*")
    bring(table, tmp_path)
    assert tree(tmp_path / "x") == ["a/deep/g", "a/f", "a/h"]


def test_tables_are_sound() -> None:
    assert table_names() == ["cityscapes", "coco", "lip", "voc"]
    for name in table_names():
        table = load_fetch_table(name)
        assert bool(table.archives) != bool(table.login)
        assert table.page.startswith("http")
        targets = [to for archive in table.archives for to in archive.place.values()]
        assert len(set(targets)) == len(targets)
        for archive in table.archives:
            lengths = {"md5": 32, "sha256": 64}
            if archive.expected.algorithm is not None:
                assert len(archive.expected.digest or "") == lengths[archive.expected.algorithm]
    with pytest.raises(UserError, match="no set 'nosuch' to fetch; known: cityscapes, coco, lip, voc"):
        load_fetch_table("nosuch")


def member(kind: bytes, name: str = "a/link", target: str = "") -> bytes:
    """A tar with one member that is no file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return buffer.getvalue()


def zip_of_mode(mode: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a/link")
        info.create_system, info.external_attr = 3, mode << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def encrypted() -> bytes:
    data = bytearray(zipped({"a/f": b"1"}))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


def twice() -> bytes:
    return zipped({"a/f": b"1", "a/g": b"1"}).replace(b"a/g", b"a/f")


GOOD_ZIP = zipped({"a/f": bytes(5000), "a/g": b"2"})
GOOD_GZ = tarred({"a/f": os.urandom(5000)}, "w:gz")
EVIL: dict[str, tuple[Callable[[], bytes], str]] = {
    "absolute name": (lambda: tarred({"/tmp/evil": b"1"}), "leads out"),
    "dots": (lambda: tarred({"a/f": b"1", "a/../../evil": b"1"}), "leads out"),
    "dots in a zip": (lambda: zipped({"a/f": b"1", "../evil": b"1"}), "leads out"),
    "backslashes": (lambda: zipped({"a/f": b"1", "..\\evil": b"1"}), "leads out"),
    "drive": (lambda: zipped({"a/f": b"1", "C:/evil": b"1"}), "leads out"),
    "symbolic link out": (lambda: member(tarfile.SYMTYPE, target="/etc"), "is a link"),
    "symbolic link within": (lambda: member(tarfile.SYMTYPE, target="f"), "is a link"),
    "hard link": (lambda: member(tarfile.LNKTYPE, target="../../etc/passwd"), "is a link"),
    "character device": (lambda: member(tarfile.CHRTYPE), "a device"),
    "block device": (lambda: member(tarfile.BLKTYPE), "a device"),
    "pipe": (lambda: member(tarfile.FIFOTYPE), "a pipe"),
    "link in a zip": (lambda: zip_of_mode(stat.S_IFLNK | 0o777), "is a link"),
    "device in a zip": (lambda: zip_of_mode(stat.S_IFCHR | 0o666), "a device"),
    "encrypted": (encrypted, "is encrypted"),
    "twice": (twice, "twice"),
    "file and folder": (lambda: zipped({"a/f": b"1", "a/f/g": b"1"}), "a file and a folder"),
    "no such part": (lambda: zipped({"b/f": b"1"}), "holds no a"),
    "empty": (lambda: zipped({}), "holds no a"),
    "zip cut": (lambda: GOOD_ZIP[:-30], "neither zip nor tar"),
    "zip with a flipped byte": (lambda: GOOD_ZIP[:40] + b"\xff" + GOOD_ZIP[41:], "is damaged"),
    "tar cut": (lambda: tarred({"a/f": bytes(5000)})[:3000], "is damaged"),
    "gz cut": (lambda: GOOD_GZ[:-2000], "is damaged"),
    "gz with a flipped byte": (lambda: GOOD_GZ[:3000] + bytes([GOOD_GZ[3000] ^ 255]) + GOOD_GZ[3001:], "is damaged"),
    "nothing": (lambda: b"", "neither zip nor tar"),
}


@pytest.mark.parametrize("name", EVIL)
def test_archives_that_are_refused(name: str, tmp_path: Path) -> None:
    make, says = EVIL[name]
    (tmp_path / "x").write_bytes(make())
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    with pytest.raises(BadArchive, match=says):
        unpack(tmp_path / "x", {"a": "a"}, target)
    assert [path for path in tree(tmp_path) if not path.startswith("deep/target/")] == ["x"]
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_only_the_wanted_parts_are_written_with_ordinary_permissions(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name, mode in (("./a/x/f", 0o4777), ("./b/f", 0o644), ("./ab/f", 0o644)):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid = 1, mode, 12345
            archive.addfile(info, io.BytesIO(b"1"))
    (tmp_path / "x").write_bytes(buffer.getvalue())
    (tmp_path / "t").mkdir()
    unpack(tmp_path / "x", {"a/*/f": "renamed.txt"}, tmp_path / "t")
    assert tree(tmp_path / "t") == ["renamed.txt"]
    status = (tmp_path / "t" / "renamed.txt").stat()
    assert (status.st_mode & 0o7111, status.st_uid) == (0, os.getuid())


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr("patchbank.fetch.unpack.SPARE", 1 << 60)
    archive = Archive(server.url("/a.zip"), "a.zip", {"a": "a"}, Expected())
    server.pages["/a.zip"] = page = Page(GOOD_ZIP)
    table = FetchTable("x", "x", "http://x", (archive,))
    with pytest.raises(UserError, match=r"needs 5,001 bytes below .* are free"):
        bring(table, tmp_path)
    # the archive is kept: it is whole, and only room is missing
    monkeypatch.undo()
    bring(table, tmp_path)
    assert len(page.requests) == 1
    assert tree(tmp_path / "x") == ["a/f", "a/g"]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "lip", "--data-root", str(tmp_path)]) == 1
    assert "http://sysu-hcp.net/lip/" in capsys.readouterr().err
    assert main(["data", "fetch", "nosuch", "--data-root", str(tmp_path)]) == 1
