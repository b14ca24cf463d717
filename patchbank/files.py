"""Writing files so that nothing half-written is ever visible, and reading small ones.

Every output is written under a temporary name beside its target, flushed to the disk and renamed; a reader sees
the old file, or the new one, or none. A temporary name holds that of the process that writes, so that what a killed one
left can be told from what a living one still writes, and be removed (`sweep`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.alive import Process, clock, this_process
from patchbank.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1 << 20
LONGEST = 255
"""Bytes of a file's name on the file systems in use."""
DAY = 86400.0
"""Seconds after which a temporary file of another host counts as left over."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync it and rename it to `path`, else remove it.

    The temporary name keeps the suffix of the target, because libraries choose the format by it.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = _around(target, target.stem)
    handle, name = tempfile.mkstemp(prefix=f"{prefix}{this_process()}.", suffix=suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp, and libraries that write a file anew, keep it to its owner
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it takes the place of `path`, else it is removed.

    A link stays a link: the folder that it leads to is replaced. Where that fails, as at a mount point, what was there
    is there again.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{cut_name(target.name, 60)}.{this_process()}."
    temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=target.parent))
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
        _put(temporary, target)
        _sync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(new: Path, target: Path) -> None:
    """Give a temporary folder its name; the folder that had it goes afterwards, or has it again."""
    old = new.with_name(new.name.removesuffix(".tmp") + "old.tmp")
    if target.is_dir():
        try:
            target.replace(old)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.rmtree(target)  # a folder of a container's image can be removed, but not renamed
    try:
        new.replace(target)
    except BaseException:
        if old.exists():
            old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sweep(paths: Iterable[str | Path]) -> None:
    """Remove the temporary files of these outputs that processes left which are gone; those of living ones stay.

    A file or folder of another host counts as left over when nothing was written to it, or in it, for a day.
    """
    known: dict[Path, dict[tuple[str, str], None]] = {}
    for path in map(Path, paths):
        ways = known.setdefault(path.parent, {})
        ways[_around(path, path.stem)] = ways[f".{cut_name(path.name, 60)}.", ".tmp"] = None
    for folder, ways in known.items():
        for file in list(folder.glob(".*")) if folder.is_dir() else ():
            for start, end in ways:
                if file.name.startswith(start) and file.name.endswith(end):
                    writer = Process.parse(file.name[len(start) : -len(end)].rpartition(".")[0])
                    if writer is not None and left_over(file, writer):
                        _remove(file)


def is_temporary(path: Path) -> bool:
    """Whether a file has a name of `atomic_path`, which another process may be writing to, or have left."""
    return path.name.startswith(".") and path.stem.endswith(".tmp")


def left_over(path: Path, writer: Process) -> bool:
    """Whether nobody writes a temporary file or folder any more.

    Args:
        path: of it; one of another host counts as left over when nothing was written to it, or in it, for a day.
        writer: who made it.
    """
    gone = writer.gone()
    if gone is not None:
        return gone
    try:
        return clock(path.parent) - max(one.lstat().st_mtime for one in (path, *path.rglob("*"))) > DAY
    except FileNotFoundError:  # it was renamed, or something in it removed: its writer lives
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _around(target: Path, name: str) -> tuple[str, str]:
    """What stands before and behind the writer's name in the name of a temporary file."""
    return f".{cut_name(name, 60)}.", ".tmp" + target.suffix


def cut_name(name: str, most: int) -> str:
    """The first `most` bytes of a file's name at most, no character cut in two."""
    return os.fsencode(name)[:most].decode("utf-8", "ignore")


def short_name(name: str, ending: str = "") -> str:
    """A name that a folder can hold with `ending` behind it: file systems count bytes, and hold `LONGEST` of them.

    Args:
        name: of a file, without folders.
        ending: what the caller adds to it, e.g. ``.png``.

    Returns:
        `name` itself where it fits, else its beginning, ``~`` and 12 hexadecimal digits of the whole name's SHA-256, so
        that two long names stay two.
    """
    most = LONGEST - len(os.fsencode(ending))
    if len(os.fsencode(name)) <= most:
        return name
    told = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return cut_name(name, most - len(told)) + told


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, atomically. NaN and infinities are refused with ValueError."""
    write_text(path, to_json(value))


def to_json(value: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: str | Path) -> Any:
    """Read a JSON file; `UserError` names the file when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}).") from None


def write_npz(path: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an uncompressed `.npz`, atomically; object arrays (pickles) are refused."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{path}: array {name!r} has dtype {array.dtype}; only plain dtypes are stored.")
    import numpy as np  # scripts set its threads before it is there, and the command line's help needs none

    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_npz(path: str | Path, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Read arrays of an `.npz` without pickles; `UserError` names a missing or broken file.

    Args:
        path: the file.
        names: only these arrays, as far as they are there; None for all.
    """
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise UserError(f"{path} cannot be read as .npz (it holds one array without a name).")
        with loaded as file:
            return {name: file[name] for name in file.files if names is None or name in names}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be read as .npz ({error}).") from None


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def digest(value: Any, length: int = 8) -> str:
    """First `length` hexadecimal digits of the SHA-256 of `value`'s canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def check_space(folder: str | Path, needed: int, way_out: str) -> None:
    """Make the folder, and raise `UserError` where its disk has no room for that many bytes more.

    Args:
        folder: where files will be written.
        needed: bytes.
        way_out: what a user can do, without a full stop.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > 0.98 * free:
        raise UserError(f"{folder} needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free; {way_out}.")
