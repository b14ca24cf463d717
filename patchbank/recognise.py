"""What a file is that a user named where another was meant, and which command it belongs to.

Only first bytes, names inside archives and headers are read; nothing in the file runs.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from patchbank.datasets.formats import HEAD, is_picture, unread_format
from patchbank.errors import UserError
from patchbank.files import read_npz

Said = tuple[str, str]
"""What a file is, and what can be done with it ("" for nothing)."""


def mistaken(path: str | Path, meant: str, name: str) -> UserError:
    """The error for a file that is not what was meant.

    Args:
        path: the file or folder.
        meant: what was meant, with its article, e.g. ``a bank``.
        name: how that is named, a sentence.
    """
    path = Path(path)
    if not path.exists():
        return UserError(f"{path} does not exist. {name}")
    what, use = recognise(path)
    return UserError(f"{path} is {what}, not {meant}. {use or name}")


def read_arrays(path: str | Path, needed: Sequence[str], meant: str, name: str) -> dict[str, NDArray[Any]]:
    """The arrays of an `.npz`; the error of `mistaken` for a file that is none, or lacks one of `needed`."""
    try:
        arrays = read_npz(path)
    except UserError:
        raise mistaken(path, meant, name) from None
    if not set(needed) <= set(arrays):
        raise mistaken(path, meant, name)
    return arrays


def recognise(path: Path) -> Said:
    """What the file or folder at `path` is, and the command that takes it."""
    if path.is_dir():
        return _folder(path)
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})", ""
    kinds: list[tuple[bool, Callable[[Path], Said]]] = [
        (not head, lambda _: ("an empty file", "")),
        (head.startswith(b"\x89HDF\r\n\x1a\n"), _hdf5),
        (head.startswith(b"PK\x03\x04"), _archive),
        (is_picture(path), _picture),
        (head[:1] == b"\x80", _torch),
        (head[8:9] == b"{", _safetensors),
        (path.suffix == ".onnx", lambda _: ("an ONNX model", "")),
        (b"\0" not in head, _text),
    ]
    return next((kind(path) for fits, kind in kinds if fits), ("a file of another tool", ""))


def _folder(path: Path) -> Said:
    if (path / "bank.json").is_file():
        return "the folder of a bank", f"`patchbank info {path}` describes it."
    if (path / "report.json").is_file():
        return "the folder of a run", f"`patchbank compare {path} OTHER` compares it with another."
    if (path / "legend.json").is_file():
        return "what `patchbank segment` wrote", ""
    use = f"`patchbank data check --folder {path}` looks at a folder of pictures."
    return "a folder without bank.json and report.json", use


def _hdf5(path: Path) -> Said:
    import h5py

    bank = path.parent / "bank.json"
    use = f"The bank is named by its folder: `patchbank info {path.parent}`, `open_bank({str(path.parent)!r})`."
    try:
        with h5py.File(path, "r") as file:
            attributes, names = set(file.attrs), set(file)
    except (OSError, RuntimeError) as error:
        return f"an HDF5 file that cannot be read ({error})", use if bank.is_file() else ""
    if path.name == "bank.h5" and bank.is_file():
        return "the joined view of a bank for other tools", use
    if {"content", "complete"} <= attributes or {"crc", "image"} <= names:
        return "one shard of a bank", use if bank.is_file() else "Its bank.json is missing; name a folder that has one."
    if {"record", "format"} <= attributes:
        return "a file of predictions", ""
    return f"an HDF5 file of another tool (it holds {', '.join(sorted(names)[:5]) or 'nothing'})", ""


def _archive(path: Path) -> Said:
    try:
        names = zipfile.ZipFile(path).namelist()
    except (OSError, zipfile.BadZipFile):
        return "a damaged archive", ""
    if any(name.endswith("/data.pkl") for name in names):
        return _torch(path)
    arrays = {name.removesuffix(".npy") for name in names if name.endswith(".npy")}
    if "tables" in arrays:
        return "a file of segment clusters", "It goes with `patchbank segment --clusters`."
    if {"mean", "std", "count"} <= arrays:
        return "a file of statistics", "It goes with `patchbank train --statistics`."
    return ("a NumPy archive of other content", "") if arrays else ("an archive", "")


def _picture(path: Path) -> Said:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if unread := unread_format(head):
        return f"a picture in the format {unread}, which is not read", ""
    if head.startswith(b"MATLAB"):
        return "a MATLAB file", ""
    return "a picture", f"`patchbank segment {path} --checkpoint C --out DIR` divides it."


def _torch(_: Path) -> Said:
    return "a torch checkpoint", "`patchbank import` makes a checkpoint of ours of a published one."


def _safetensors(path: Path) -> Said:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length if length < path.stat().st_size else 0))
            record = json.loads(header["__metadata__"]["record"])
        except (ValueError, KeyError, TypeError):
            return "a safetensors file of another tool", ""
    method = record.get("method") if isinstance(record, dict) else None
    use = f"`patchbank segment PICTURES --checkpoint {path} --out DIR` uses it."
    return (f"a checkpoint of {method}", use) if method else ("a file of weights", "It goes with --weights.")


def _text(path: Path) -> Said:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"a text file{' (' + path.suffix[1:] + ')' if path.suffix else ''}", ""
    keys = set(content) if isinstance(content, dict) else set()
    if {"method", "settings"} <= keys:  # it names its bank, too
        return "the record of a checkpoint", "The checkpoint is the .safetensors beside it."
    if "bank" in keys or {"ids", "shards"} <= keys:
        return "the record of a bank", f"`patchbank info {path}` describes it."
    if "no_id" in keys:
        return "the legend of what `patchbank segment` wrote", ""
    if "splits" in keys:
        return "the manifest of a set", ""
    if "rows" in keys:
        return (
            "a file of scores",
            f"`patchbank compare {path.parent} OTHER` compares the run.",
        )
    return "a JSON file of another tool", ""
