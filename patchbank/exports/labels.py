"""`patchbank export labels`: the labels of a run in the format of another tool.

Inputs: a row of results or a folder of `patchbank segment`, and names of clusters on request. Output: a new folder with
the format's files and `export.json`, which says what they were made of and lists them; it appears as a whole. One
picture is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from patchbank.errors import UserError
from patchbank.exports import formats
from patchbank.exports.folder import check_target, write_record
from patchbank.exports.formats import FormatOptions
from patchbank.exports.regions import RegionSettings, Taken
from patchbank.exports.rows import open_row
from patchbank.exports.segmented import open_segmented
from patchbank.exports.source import Choice, Source
from patchbank.files import atomic_folder
from patchbank.inference.pictures import LEGEND


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
        UserError: nothing can be exported, the format has no use for an option, or `out` holds something else, or files
            of others beside an export.
    """
    target, record = Path(out), _record(run, settings)
    written = formats.format_of(settings.format)
    _check_options(settings, getattr(written, "OPTIONS", ()))
    check_target(target, record, overwrite)
    large = bool(getattr(written, "LARGE", False))
    taken = Taken(open_source(run, settings.choice), settings.regions, large=large)
    with atomic_folder(target) as folder:
        written.write(taken, folder, settings.options)
        write_record(folder, record)
        check_target(target, record, overwrite)  # once more: files may have come while labels were written
    return taken


def _check_options(settings: ExportSettings, known: Sequence[str]) -> None:
    """Refuse options that would change nothing."""
    regions, options = settings.regions, settings.options
    given = {
        "--instances": regions.instances,
        "--tolerance": regions.tolerance,
        "--polygons": options.polygons,
        "--image-prefix": options.image_prefix,
    }
    if idle := [name for name, value in given.items() if value and name not in known]:
        raise UserError(f"--format {settings.format} reads no {', '.join(idle)}; leave that out, or change --format.")
    if regions.tolerance and "--polygons" in known and not options.polygons:
        raise UserError(f"--format {settings.format} writes masks, so --tolerance goes with --polygons; give both.")


def _record(run: str | Path, settings: ExportSettings) -> Mapping[str, Any]:
    """What tells exports apart, in values of JSON."""
    record: Mapping[str, Any] = json.loads(json.dumps({"run": str(run), **asdict(settings)}, default=str))
    return record
