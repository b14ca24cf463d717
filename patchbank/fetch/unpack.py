"""Unpacking archives that come from elsewhere: nothing is written outside the target, and nothing but plain files.

Every member of the archive is looked at before the first byte is written, also those that are not wanted: an absolute
name, a `..`, a link, a device or a pipe, a name twice, or encryption, and the archive as a whole is refused. Links are
never made, not even harmless ones. Contents are written by this module as new files with ordinary permissions; owners,
modes and times of the archive mean nothing. Known formats: zip, and tar with any compression of Python's `tarfile`.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from patchbank.errors import UserError
from patchbank.files import CHUNK
from patchbank.progress import track

SPARE = 1 << 28
"""Bytes of the disk that stay free."""
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What Python's readers raise on broken, encrypted or unknown archives (with OSError, which is told apart)."""


class BadArchive(UserError):
    """An archive that no other disk and no second try makes usable."""


@dataclass(frozen=True)
class _Member:
    """One regular file of an archive: its name, size, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, place: Mapping[str, str], target: Path) -> None:
    """Write the wanted parts of `archive` below `target`, an empty folder.

    Args:
        archive: zip or tar.
        place: part of the archive (file or folder; `*` stands for one name) -> path below `target`. Members of no part
            are left out.
        target: is filled; after an error its content means nothing.

    Raises:
        BadArchive: it is damaged, no archive at all, refused (see the module), or lacks a part.
        UserError: it is larger than the free disk, or nothing can be written.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                _write(archive, list(_zip_members(archive, file)), place, target)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                members = list(_tar_members(archive, file))
                while file.fileobj is not None and file.fileobj.read(CHUNK):
                    pass  # the checksum of a compressed tar stands at its end, which its reader leaves unread
                _write(archive, members, place, target)
        else:
            raise BadArchive(f"{archive} is neither zip nor tar; it begins with {_beginning(archive)!r}.")
    except DAMAGED as error:
        raise BadArchive(f"{archive} is damaged ({' '.join(str(error).split()) or type(error).__name__}).") from None
    except (FileExistsError, NotADirectoryError) as error:
        raise BadArchive(f"{archive} is refused: {error.filename} would be a file and a folder.") from None
    except OSError as error:
        if error.errno is None:  # of a decompressor, not of the disk
            raise BadArchive(f"{archive} is damaged ({error}).") from None
        raise UserError(f"{archive} cannot be unpacked to {target} ({error.strerror or error}).") from None


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.flag_bits & 1:
            raise BadArchive(f"{archive} is refused: {info.filename} is encrypted.")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise BadArchive(f"{archive} is refused: {info.filename} is a link, a device or a pipe.")
        _check_name(archive, info.orig_filename)
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, partial(file.open, info))


def _tar_members(archive: Path, file: tarfile.TarFile) -> Iterator[_Member]:
    for info in file:
        if not (info.isreg() or info.isdir()):
            raise BadArchive(f"{archive} is refused: {info.name} is a link, a device or a pipe.")
        _check_name(archive, info.name)
        if info.isreg():
            yield _Member(info.name, info.size, partial(_opened, file, info))


def _opened(file: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    opened = file.extractfile(info)
    assert opened is not None
    return opened


def _check_name(archive: Path, name: str) -> None:
    """Refuse names that lead elsewhere, on any system."""
    parts = name.split("/")
    if not name or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
        raise BadArchive(f"{archive} is refused: the name {name!r} leads out of the target.")


def _write(archive: Path, members: list[_Member], place: Mapping[str, str], target: Path) -> None:
    wanted: dict[str, _Member] = {}
    used: set[str] = set()
    for member in members:
        for part, to in place.items():
            inside = _inside(member.name, part)
            if inside is None:
                continue
            path = str(PurePosixPath(to, inside))
            if path in wanted:
                raise BadArchive(f"{archive} is refused: it holds {member.name} twice.")
            wanted[path] = member
            used.add(part)
    missing = [part for part in place if part not in used]
    if missing:
        raise BadArchive(f"{archive} holds no {' and no '.join(missing)}.")
    size, free = sum(member.size for member in wanted.values()), shutil.disk_usage(target).free
    if size + SPARE > free:
        raise UserError(f"{archive} needs {size:,} bytes below {target}, where {free:,} are free.")
    for name, member in track(wanted.items(), f"unpack {archive.name}", "file", len(wanted)):
        file = target / name
        _make_folders(target, PurePosixPath(name).parent)
        with member.open() as source, file.open("xb") as copy:
            shutil.copyfileobj(source, copy)
            written = copy.tell()
        if written != member.size:
            raise BadArchive(f"{archive} is damaged ({member.name} has {written:,} of {member.size:,} bytes).")


def _make_folders(target: Path, below: PurePosixPath) -> None:
    """Make folders below the target; FileNotFoundError where somebody removed it, with what was unpacked there."""
    for folder in [*reversed(below.parents), below]:
        if folder.parts:
            (target / folder).mkdir(exist_ok=True)


def _inside(name: str, part: str) -> str | None:
    """The rest of `name` below `part` ("" = it is the part itself), None where it lies elsewhere."""
    names = [piece for piece in name.split("/") if piece not in ("", ".")]
    parts = part.split("/")
    if len(names) < len(parts) or not all(map(fnmatchcase, names, parts)):
        return None
    return "/".join(names[len(parts) :])


def _beginning(archive: Path) -> str:
    with archive.open("rb") as file:
        return file.read(40).decode("ascii", "replace")
