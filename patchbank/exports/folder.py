"""The folder of an export: `export.json` says what it was made of and lists its files; nothing else is written over."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.errors import UserError
from patchbank.files import write_json

RECORD = "export.json"
FILES = "files"
"""Key of the record: the files of the export, POSIX paths below its folder."""
NAMED = 3
"""Files that a message names at most."""


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Note in the folder of a finished export what it is, and which files."""
    write_json(folder / RECORD, {**record, FILES: _files(folder)})


def _files(folder: Path) -> list[str]:
    """Files and links below a folder but the record, sorted; bytes that are no text are written out."""
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = [path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode() for path in files]
    return sorted(name for name in names if name != RECORD)


def check_target(target: Path, record: Mapping[str, Any], overwrite: bool) -> None:
    """Refuse mount points and all but the files of the same export, or with `overwrite` of any export."""
    if target.is_file():
        raise UserError(f"--out {target} is a file; name a folder.")
    if os.path.ismount(os.path.realpath(target)):
        raise UserError(f"--out {target} is a mount point, which no new folder can replace; name a folder below it.")
    if not target.exists() or not any(target.iterdir()):
        return
    try:
        known = json.loads((target / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict) or "format" not in known:
        raise UserError(f"--out {target} holds files that no export wrote; they stay as they are. Name a new folder.")
    listed = known.pop(FILES, [])
    if others := sorted(set(_files(target)) - set(map(str, listed if isinstance(listed, list) else []))):
        names = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
        raise UserError(
            f"--out {target} holds files beside the export ({names}); they stay as they are. Name a new folder."
        )
    if known != record and not overwrite:
        raise UserError(f"--out {target} holds another export; name a new folder, or give --overwrite.")
