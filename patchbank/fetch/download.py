"""One file from the web, whole or not at all: resumed after every interruption, verified before it gets its name.

What has arrived lies in `<name>.partial`; `<name>.partial.json` holds the address and the server's mark of this version
(strong ETag, else Last-Modified). A later attempt, or a later run, asks for the rest only, on the condition that the
version is the same (`Range`, `If-Range`; RFC 9110, sections 13 and 14); a server that ignores the question sends the
whole file, and it starts from the beginning. A file that cannot be verified is never resumed without such a mark.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import patchbank
from patchbank.errors import UserError
from patchbank.files import CHUNK, write_json
from patchbank.progress import meter

LOG = logging.getLogger(__name__)
ATTEMPTS = 6
"""Attempts in a row that may bring nothing; an attempt that brings something starts the count again."""
TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as dead."""
LONGEST = 60.0
"""Longest pause between attempts, in seconds; the first is 1, and each further one twice as long."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be different a minute later."""


@dataclass(frozen=True)
class Expected:
    """What is published about a file; None where nothing is.

    Attributes:
        size: bytes.
        algorithm: ``"md5"`` or ``"sha256"``.
        digest: hexadecimal.
    """

    size: int | None = None
    algorithm: str | None = None
    digest: str | None = None


class _Interrupted(Exception):
    """An attempt that ended early; another one may bring the rest."""


def download(
    url: str, path: Path, expected: Expected | None = None, pause: Callable[[float], None] = time.sleep
) -> None:
    """Bring `url` to `path`; an existing `path` is replaced.

    Args:
        url: http or https address; redirects are followed.
        path: target; its folder is made.
        expected: what is published about the file; all of it is compared.
        pause: waits so many seconds between attempts.

    Raises:
        UserError: the server refuses, offers another size than the published one, the connection keeps breaking, the
            disk is full, or the checksum differs (what arrived is then removed).
    """
    expected = expected or Expected()
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url} is not an http or https address.")
    partial = path.with_name(path.name + ".partial")
    mark = _mark(partial)
    path.parent.mkdir(parents=True, exist_ok=True)
    failures, most = 0, _size(partial)
    while True:
        try:
            _attempt(url, partial, mark, expected)
            break
        except _Interrupted as reason:
            failures = 1 if _size(partial) > most else failures + 1
            most = max(most, _size(partial))
            if failures >= ATTEMPTS:
                raise UserError(
                    f"{url}: {reason}; {ATTEMPTS} attempts in a row brought nothing new. Run again later: "
                    f"{_size(partial):,} bytes are kept in {partial}."
                ) from None
            wait = min(2.0 ** (failures - 1), LONGEST)
            LOG.warning("%s: %s; trying again in %.0f s", url, reason, wait)
            pause(wait)
        except OSError as error:
            raise UserError(f"{partial} cannot be written ({error.strerror or error}).") from None
    _verify(url, partial, expected)
    partial.replace(path)
    mark.unlink(missing_ok=True)


def _attempt(url: str, partial: Path, mark: Path, expected: Expected) -> None:
    """One request; afterwards `partial` is complete. `_Interrupted` when it is not."""
    known = _known(mark, url, expected)
    have = _size(partial) if known is not None else 0
    headers = {"User-Agent": f"patchbank/{patchbank.__version__}", "Accept-Encoding": "identity"}
    if have and known is not None:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": known} if known else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
            start, total = _extent(answer, have)
            if expected.size is not None and total is not None and total != expected.size:
                raise UserError(f"{url}: the server offers {total:,} bytes, {expected.size:,} are published.")
            if start == 0:  # before the new mark, which must never stand beside bytes of another version
                partial.unlink(missing_ok=True)
            write_json(mark, {"url": url, "version": _version(answer)})
            _receive(answer, partial, start, total if total is not None else expected.size, url)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # what is here is not a beginning of what is there, or all of it
                complete = have > 0 and _total(error.headers.get("Content-Range")) == have
                if not complete:
                    _remove(partial)
                    raise _Interrupted("the server has no such range; starting from the beginning") from None
                return
            if error.code in PASSING:
                raise _Interrupted(f"the server answers {error.code} {error.reason}") from None
            raise UserError(f"{url}: the server answers {error.code} {error.reason}.") from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _interrupted(error) from None


def _interrupted(error: Exception) -> _Interrupted:
    return _Interrupted(str(getattr(error, "reason", None) or error) or type(error).__name__)


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """Where the answer's body belongs, and the size of the whole file (None: the server does not say)."""
    length = answer.headers.get("Content-Length")
    if answer.status != 206:
        return 0, int(length) if length is not None and length.isdigit() else None
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", (answer.headers.get("Content-Range") or "").strip())
    if match is None or int(match[1]) != have:
        raise _Interrupted("the server sends another range than the one that was asked for")
    return have, None if match[3] == "*" else int(match[3])


def _receive(answer: Any, partial: Path, start: int, total: int | None, url: str) -> None:
    """Append the body at byte `start`; what arrived before an interruption is kept."""
    with partial.open("r+b" if start else "wb") as file, meter(total, start, partial.stem) as advance:
        file.seek(start)
        file.truncate()
        have = start
        try:
            for block in _blocks(answer):
                file.write(block)
                have += len(block)
                advance(len(block))
        finally:
            file.flush()
            os.fsync(file.fileno())
    if total is not None and have < total:
        raise _Interrupted(f"the connection ended after {have:,} of {total:,} bytes")
    if total is not None and have > total:
        _remove(partial)
        raise UserError(f"{url}: {have:,} bytes arrived, {total:,} were announced; what arrived is removed.")


def _blocks(answer: Any) -> Iterator[bytes]:
    """The body, block by block; an error of the connection is told apart from one of the disk."""
    while True:
        try:
            block = answer.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _interrupted(error) from None
        if not block:
            return
        yield block


def _known(mark: Path, url: str, expected: Expected) -> str | None:
    """The version that the partial file belongs to ("" = unknown, but the checksum will tell), None: start anew."""
    try:
        content = json.loads(mark.read_text(encoding="utf-8"))
        stored_url, version = str(content["url"]), str(content["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if stored_url != url or not (version or expected.digest):
        return None
    return version


def _version(answer: Any) -> str:
    """A validator that `If-Range` accepts: a strong ETag, else the date of the last change; "" without either."""
    tag = str(answer.headers.get("ETag") or "")
    return tag if tag.startswith('"') else str(answer.headers.get("Last-Modified") or "")


def _total(content_range: str | None) -> int | None:
    match = re.fullmatch(r"bytes \*/(\d+)", (content_range or "").strip())
    return int(match[1]) if match else None


def _verify(url: str, partial: Path, expected: Expected) -> None:
    """Compare size and checksum; a file that differs is removed."""
    size = _size(partial)
    if expected.size is not None and size != expected.size:
        _remove(partial)
        raise UserError(f"{url}: {size:,} bytes arrived, {expected.size:,} are published; what arrived is removed.")
    if expected.algorithm is None:
        return
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, expected.algorithm).hexdigest()
    if digest != expected.digest:
        _remove(partial)
        raise UserError(
            f"{url}: {expected.algorithm} is {digest}, published is {expected.digest}; what arrived is removed. Run "
            "again; if it stays so, the file on the server has changed."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _mark(partial: Path) -> Path:
    """The file that says what `partial` is a part of."""
    return partial.with_name(partial.name + ".json")


def _remove(partial: Path) -> None:
    partial.unlink(missing_ok=True)
    _mark(partial).unlink(missing_ok=True)
