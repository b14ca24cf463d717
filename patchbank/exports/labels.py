"""`patchbank export labels`: the labels of a run in the format of another tool.

Inputs: a row of results or a folder of `patchbank segment`, and names of clusters on request. Output: a new folder with
the format's files and `export.json`, which says what they were made of and lists them; it appears as a whole. One
picture is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patchbank.errors import UserError
from patchbank.exports import formats
from patchbank.exports.formats import FormatOptions
from patchbank.exports.regions import RegionSettings, Taken
from patchbank.exports.rows import open_row
from patchbank.exports.segmented import open_segmented
from patchbank.exports.source import Choice, Source
from patchbank.files import atomic_folder, write_json
from patchbank.inference.pictures import LEGEND

RECORD = "export.json"
FILES = "files"
"""Key of the record: the files of the export, POSIX paths below its folder."""
NAMED = 3
"""Files that a message names at most."""


@dataclass(frozen=True)
class ExportSettings:
    """How labels are exported.

    Attributes:
        format: one of `patchbank.exports.formats`.
        choice: what of a row is taken.
        regions: which parts of it.
        options: what only some formats ask for.
    """

    format: str
    choice: Choice = field(default_factory=Choice)
    regions: RegionSettings = field(default_factory=RegionSettings)
    options: FormatOptions = field(default_factory=FormatOptions)


def open_source(folder: str | Path, choice: Choice) -> Source:
    """The labels of a row of results or of a folder of `patchbank segment`.

    Raises:
        UserError: it is neither, holds nothing that can be exported, or names do not belong to it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"{folder} is no folder; name a row of results, or what `patchbank segment` wrote.")
    return open_segmented(path, choice) if (path / LEGEND).is_file() else open_row(path.resolve(), choice)


def export_labels(run: str | Path, out: str | Path, settings: ExportSettings, overwrite: bool = False) -> Taken:
    """Write the labels of `run` into a new folder.

    Args:
        run: a row of results, or what `patchbank segment` wrote.
        out: the folder to write; an earlier export of the same run and settings is written anew.
        settings: how.
        overwrite: write over an export of another run or settings, too.

    Returns:
        What was written: how many pictures, and how many pieces were too small.

    Raises:
        UserError: nothing can be exported, or `out` holds something else, or files of others beside an export.
    """
    target, record = Path(out), _record(run, settings)
    _check(target, record, overwrite)
    taken = Taken(open_source(run, settings.choice), settings.regions)
    with atomic_folder(target) as folder:
        formats.format_of(settings.format).write(taken, folder, settings.options)
        write_json(folder / RECORD, {**record, FILES: _files(folder)})
        _check(target, record, overwrite)  # once more: files may have come while labels were written
    return taken


def _record(run: str | Path, settings: ExportSettings) -> Mapping[str, Any]:
    """What tells exports apart, in values of JSON."""
    record: Mapping[str, Any] = json.loads(json.dumps({"run": str(run), **asdict(settings)}, default=str))
    return record


def _files(folder: Path) -> list[str]:
    """Files and links below a folder but the record, sorted; bytes that are no text are written out."""
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = [path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode() for path in files]
    return sorted(name for name in names if name != RECORD)


def _check(target: Path, record: Mapping[str, Any], overwrite: bool) -> None:
    """Refuse a folder that holds anything but the files of the same export, or with `overwrite` of any export."""
    if target.is_file():
        raise UserError(f"--out {target} is a file; name a folder.")
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
