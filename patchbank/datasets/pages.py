"""Files that hold several pictures: each page of a TIFF, each frame of a DICOM file has a name of its own.

`stack.tif` of 12 pages is twelve pictures, `stack.p001.tif` to `stack.p012.tif`. No file has these names; whatever
takes names of pictures (lists, manifests, masks, outputs, exports) takes them, and whatever opens one asks `located`
which page of which file it is. A file that has such a name of its own is that file.

Overviews (smaller copies of a page) and transparency masks are no pages. A page's bytes are its own: it keeps its
content id when other pages come or go.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from functools import lru_cache
from pathlib import Path
from typing import IO

from patchbank.datasets.dicom import frame_count, frame_hash, is_dicom
from patchbank.datasets.formats import HEAD, without_suffix
from patchbank.datasets.tiles import tile_of

MOST = 100_000
"""Directories of a TIFF that are looked at; a chain of more is taken for a loop."""
_PAGE = re.compile(r"(.+)\.p(\d{3,})", re.DOTALL)
_LIKE_A_PART = re.compile(r"\.p\d{3}|\.c\d+of\d")
_SUBFILE, _OLD_SUBFILE = 254, 255
_SEEN = (
    *(256, 257, 258, 259, 262, 266, 274, 277, 278, 284, 292, 293, 317, 320, 322, 323, 332, 338, 339, 340, 341, 347),
    *(529, 530, 531, 532, 42113),
)
"""Tags that say how a page's data become a picture: sizes, depth, compression, colours, turns, bands, no data."""


def page_name(path: Path, number: int) -> Path:
    """The name of page `number` (from 1 on) of the file at `path`.

    Example:
        >>> page_name(Path("set/stack.tif"), 3).as_posix()
        'set/stack.p003.tif'
    """
    stem = without_suffix(path.name)
    return path.with_name(f"{stem}.p{number:03d}{path.name[len(stem) :]}")


def located(path: str | Path) -> tuple[Path, int]:
    """The file that holds the picture `path`, and its page; 0 for a file that is the picture, be it there or not.

    Of a tile (`patchbank.datasets.tiles`): of the raster.
    """
    if _LIKE_A_PART.search(str(path)) is None:  # most files; asked of every file of a set
        return path if isinstance(path, Path) else Path(path), 0
    path = tile_of(Path(path))[0]
    stem = without_suffix(path.name)
    match = _PAGE.fullmatch(stem)
    if match is None or os.path.lexists(path):
        return path, 0
    file, number = path.with_name(match[1] + path.name[len(stem) :]), int(match[2])
    named = number > 0 and page_name(file, number).name == path.name
    return (file, number) if named and file.is_file() else (path, 0)


def pages(path: Path) -> list[Path]:
    """The names of the pictures in the file at `path`: its own where it holds one, or cannot be read."""
    try:
        # what is no regular file is not opened: a pipe would hang
        status = path.stat() if path.is_file() else None
    except (OSError, ValueError):  # a link to itself, or a NUL in the name; reading it will name it
        status = None
    count = 1 if status is None else _count(path, status.st_size, status.st_mtime_ns)
    names = [page_name(path, number) for number in range(1, count + 1)]
    # where a file is called as a page is, neither is taken for the other: the file of pages is refused as a whole
    return [path] if count < 2 or any(map(os.path.lexists, names)) else names


@lru_cache(maxsize=1 << 16)
def _count(path: Path, size: int, time: int) -> int:
    """How many pictures a file holds, as long as size and time are these."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            return frame_count(file) if is_dicom(head) else len(directories(file))
    except OSError:
        return 1


def directories(file: IO[bytes]) -> list[int]:
    """Positions of a TIFF's pages in its chain of directories; empty for any other file, or a broken chain.

    Source: TIFF 6.0, section 2, and the BigTIFF design (both at https://www.loc.gov/preservation/digital/formats/).
    """
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
    try:
        kind = struct.unpack_from(f"{order}H", head, 2)[0] if order else 0
        if kind not in (42, 43):
            return []
        count, size, link = ("H", 12, "I") if kind == 42 else ("Q", 20, "Q")
        (offset,) = struct.unpack_from(order + link, head, 4 if kind == 42 else 8)
        found, seen = [], set[int]()
        while offset and offset not in seen and len(seen) < MOST:
            file.seek(offset)
            (entries,) = struct.unpack(order + count, file.read(struct.calcsize(order + count)))
            body = file.read(min(entries, 1 << 16) * size + struct.calcsize(order + link))
            (following,) = struct.unpack(order + link, body[entries * size :])
            if not _beside(body[: entries * size], order, size):
                found.append(len(seen))
            seen.add(offset)
            offset = following
    except struct.error:  # cut off: what is wrong with it, its decoding says
        return []
    return found if not offset else []


def _beside(entries: bytes, order: str, size: int) -> bool:
    """Whether a directory is that of an overview or of a transparency mask."""
    for start in range(0, len(entries), size):
        tag, kind = struct.unpack_from(f"{order}HH", entries, start)
        value = struct.unpack_from(order + ("H" if kind == 3 else "I"), entries, start + (8 if size == 12 else 12))[0]
        if (tag == _SUBFILE and value & 0b101) or (tag == _OLD_SUBFILE and value == 2):
            return True
    return False


def page_hash(path: Path, number: int, before: bytes = b"") -> str:
    """SHA-256 over `before`, the tags of a page that its picture depends on, and its data as stored.

    Raises:
        OSError, ValueError: the file is cut off or damaged.
    """
    import tifffile

    with path.open("rb") as file:
        if is_dicom(file.read(HEAD)):
            return frame_hash(path, number, before)
    digest = hashlib.sha256(before)
    with path.open("rb") as file:
        page = tifffile.TiffFile(file).pages[directories(file)[number - 1]]
        assert isinstance(page, tifffile.TiffPage)
        for code in _SEEN:
            if (tag := page.tags.get(code)) is not None:
                digest.update(f"{code} {tag.value!r}\n".encode())
        for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.seek(offset)
            digest.update(file.read(length))
    return digest.hexdigest()
