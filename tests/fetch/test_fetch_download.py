"""Downloads against a server that cuts, lies, forgets and refuses."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_server import Page, Server

from patchbank.errors import UserError
from patchbank.fetch import download as download_module
from patchbank.fetch.download import ATTEMPTS, Expected, download

BODY = random.Random(0).randbytes(300_000)
MD5 = Expected(len(BODY), "md5", hashlib.md5(BODY).hexdigest())
SHA = Expected(None, "sha256", hashlib.sha256(BODY).hexdigest())


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download_module, "CHUNK", 1000)
    server = Server()
    yield server
    server.close()


def bring(server: Server, page: Page, folder: Path, expected: Expected | None = None) -> list[float]:
    """Download the page; return the pauses."""
    server.pages["/a.bin"] = page
    pauses: list[float] = []
    download(server.url("/a.bin"), folder / "a.bin", expected, pauses.append)
    assert (folder / "a.bin").read_bytes() == page.body
    assert [path.name for path in folder.iterdir()] == ["a.bin"]
    return pauses


@pytest.mark.parametrize("expected", [None, MD5, SHA])
def test_a_file_arrives(server: Server, tmp_path: Path, expected: Expected | None) -> None:
    assert bring(server, Page(BODY), tmp_path, expected) == []


def test_cut_connections_are_resumed_where_they_ended(server: Server, tmp_path: Path) -> None:
    page = Page(BODY, cuts=[100_000, 50_000, 0, 0, 100_000])
    assert bring(server, page, tmp_path, MD5) == [1, 1, 2, 4, 1]
    assert page.sent == len(BODY)
    assert [request.get("Range") for request in page.requests] == [
        None,
        "bytes=100000-",
        *["bytes=150000-"] * 3,
        "bytes=250000-",
    ]
    assert {request["If-Range"] for request in page.requests[1:]} == {'"1"'}


@pytest.mark.parametrize(("etag", "modified"), [("", "Tue, 01 Nov 2022 10:00:00 GMT"), ('W/"1"', ""), ("", "")])
def test_without_a_strong_tag(server: Server, tmp_path: Path, etag: str, modified: str) -> None:
    # the date is a condition; without any mark only a checksum makes it safe to go on
    for expected, resumes in ((None, bool(modified)), (SHA, True)):
        page = Page(BODY, etag=etag, modified=modified, cuts=[100_000])
        bring(server, page, tmp_path, expected)
        assert page.requests[1].get("Range") == ("bytes=100000-" if resumes else None)
        assert page.requests[1].get("If-Range") == (modified if resumes and modified else None)
        (tmp_path / "a.bin").unlink()


def test_a_later_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.pages["/a.bin"] = page = Page(BODY, cuts=[100_000], status=[])
    page.cuts += [0] * ATTEMPTS
    with pytest.raises(UserError, match=r"attempts in a row brought nothing new.*100,000 bytes are kept"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: None)
    assert (tmp_path / "a.bin.partial").stat().st_size == 100_000
    assert not (tmp_path / "a.bin").exists()
    page.cuts.clear()
    bring(server, page, tmp_path)
    assert page.sent == len(BODY)


def test_a_changed_file_starts_anew(server: Server, tmp_path: Path) -> None:
    other = bytes(reversed(BODY))
    server.pages["/a.bin"] = Page(BODY, cuts=[100_000] + [0] * ATTEMPTS)
    with pytest.raises(UserError, match="nothing new"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: None)
    page = Page(other, etag='"2"')
    bring(server, page, tmp_path)
    assert page.requests[0]["If-Range"] == '"1"'


def test_a_partial_file_of_another_address_or_without_a_mark_is_not_used(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin.partial").write_bytes(b"x" * 1000)
    for mark in (None, b"nonsense", b"[1]", b'{"url": "http://elsewhere/a.bin", "version": "\\"1\\""}'):
        if mark is not None:
            (tmp_path / "a.bin.partial").write_bytes(b"x" * 1000)
            (tmp_path / "a.bin.partial.json").write_bytes(mark)
        page = Page(BODY)
        bring(server, page, tmp_path)
        assert "Range" not in page.requests[0]
        (tmp_path / "a.bin").unlink()


def test_a_server_that_ignores_range_sends_all_again(server: Server, tmp_path: Path) -> None:
    page = Page(BODY, ranges=False, cuts=[100_000, 200_000, 50_000])
    assert bring(server, page, tmp_path, MD5) == [1, 1, 2]
    assert page.sent == 350_000 + len(BODY)


def test_a_complete_partial_file_is_recognised(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.bin.partial").write_bytes(BODY)
    url = server.url("/a.bin")
    (tmp_path / "a.bin.partial.json").write_text(f'{{"url": "{url}", "version": "\\"1\\""}}')
    page = Page(BODY)
    bring(server, page, tmp_path, MD5)
    assert page.sent == 0
    # one that is longer than the file on the server is thrown away
    (tmp_path / "a.bin.partial").write_bytes(BODY + b"more")
    (tmp_path / "a.bin.partial.json").write_text(f'{{"url": "{url}", "version": "\\"1\\""}}')
    bring(server, Page(BODY), tmp_path)


def test_another_range_than_asked_for_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.pages["/a.bin"] = Page(BODY, cuts=[100_000], wrong_range=True)
    with pytest.raises(UserError, match="sends another range"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: None)


def test_busy_servers_are_asked_again(server: Server, tmp_path: Path) -> None:
    assert bring(server, Page(BODY, status=[503, 500, 429]), tmp_path, MD5) == [1, 2, 4]


@pytest.mark.parametrize("status", [404, 403, 410, 401])
def test_refusals_end_at_once(server: Server, tmp_path: Path, status: int) -> None:
    server.pages["/a.bin"] = page = Page(BODY, status=[status])
    with pytest.raises(UserError, match=f"the server answers {status}"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: pytest.fail("waited"))
    assert len(page.requests) == 1


def test_redirects_are_followed_with_the_range(server: Server, tmp_path: Path) -> None:
    server.pages["/a.bin"] = Page(redirect="/b.bin")
    server.pages["/b.bin"] = page = Page(BODY, cuts=[1000])
    download(server.url("/a.bin"), tmp_path / "a.bin", MD5, lambda seconds: None)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert page.requests[1]["Range"] == "bytes=1000-"
    server.pages["/a.bin"] = Page(redirect="file:///etc/hostname")
    with pytest.raises(UserError, match="the server answers 302"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: None)
    server.pages["/a.bin"] = Page(redirect="/a.bin")
    with pytest.raises(UserError, match="redirect"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: None)


def test_lies_about_the_length(server: Server, tmp_path: Path) -> None:
    server.pages["/a.bin"] = Page(BODY, length=len(BODY) + 10)
    with pytest.raises(UserError, match=r"the server offers 300,010 bytes, 300,000 are published"):
        download(server.url("/a.bin"), tmp_path / "a.bin", MD5)
    # more is announced than comes: a cut that no attempt can mend
    with pytest.raises(UserError, match="nothing new"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: None)
    # less is announced than there is, and nothing is published but the checksum
    server.pages["/b.bin"] = Page(BODY, length=len(BODY) - 10)
    with pytest.raises(UserError, match="sha256 is"):
        download(server.url("/b.bin"), tmp_path / "b.bin", SHA)
    assert not list(tmp_path.glob("b.bin*.partial"))


def test_no_length_at_all(server: Server, tmp_path: Path) -> None:
    assert bring(server, Page(BODY, chunked=True), tmp_path) == []
    # a cut is seen all the same, and what came is resumed
    assert bring(server, Page(BODY, chunked=True, cuts=[100_000]), tmp_path, MD5) == [1]
    page = Page(BODY[:-5], chunked=True)
    server.pages["/a.bin"] = page
    with pytest.raises(UserError, match="299,995 bytes arrived, 300,000 are published"):
        download(server.url("/a.bin"), tmp_path / "b.bin", Expected(len(BODY)), lambda seconds: None)


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_wrong_checksum_removes_the_file(server: Server, tmp_path: Path, algorithm: str) -> None:
    server.pages["/a.bin"] = Page(BODY)
    with pytest.raises(UserError, match=f"{algorithm} is .* published is 0000; what arrived is removed"):
        download(server.url("/a.bin"), tmp_path / "a.bin", Expected(len(BODY), algorithm, "0000"))
    assert not (tmp_path / "a.bin").exists()
    assert not (tmp_path / "a.bin.partial").exists()


def test_no_server_and_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    url = server.url("/a.bin")
    server.close()
    pauses: list[float] = []
    with pytest.raises(UserError, match="refused"):
        download(url, tmp_path / "a.bin", None, pauses.append)
    assert pauses == [1, 2, 4, 8, 16]
    with pytest.raises(UserError, match="is not an http or https address"):
        download("file:///etc/hostname", tmp_path / "a.bin")


def test_a_target_that_cannot_be_written_is_said_as_such(server: Server, tmp_path: Path) -> None:
    server.pages["/a.bin"] = Page(BODY)
    (tmp_path / "a.bin.partial").mkdir()
    with pytest.raises(UserError, match=r"a\.bin\.partial cannot be written \(Is a directory"):
        download(server.url("/a.bin"), tmp_path / "a.bin", None, lambda seconds: pytest.fail("waited"))
