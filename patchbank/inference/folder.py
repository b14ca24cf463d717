"""The folder that `patchbank segment` writes to: what is there of another run, or of somebody else, stays as it is.

`legend.json` says which run wrote here: checkpoint, weights, clusters and settings. The same run goes on and may add
pictures; those whose outputs are all there are done, and an output is written over only where it was made of the same
picture. Everything else is refused before anything is computed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.datasets.listing import OUTPUTS, SHOWN, printable
from patchbank.drawing.mark import source_of
from patchbank.errors import UserError, raise_problems
from patchbank.files import read_npz
from patchbank.inference.inputs import Input
from patchbank.inference.pictures import LEGEND, PictureWriter

OTHER = "it stays as it is; name another folder with --out."


def make_folder(out: str | Path) -> Path:
    """The folder of the outputs, made where it is missing.

    Raises:
        UserError: it cannot be made or written to.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder} cannot be a folder ({error.strerror}); name another.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"--out {folder} may not be written to; name another folder.")
    return folder


def check_folder(writer: PictureWriter, inputs: Sequence[Input]) -> list[Input]:
    """The pictures that are still to be segmented: not all of their outputs were made by this run already.

    Raises:
        UserError: writing would mix runs, or write over what this run did not make of these pictures.
    """
    folder = writer.folder
    try:
        known = json.loads((folder / LEGEND).read_text(encoding="utf-8"))
    except FileNotFoundError:
        _check_foreign(folder)
        return list(inputs)
    except (OSError, ValueError):
        known = None
    if not isinstance(known, dict) or "no_id" not in known:
        raise UserError(f"--out {folder} holds a {LEGEND} that `patchbank segment` did not write; {OTHER}")
    differing = _differing(known, writer.legend())
    if differing:
        raise UserError(
            f"--out {folder} holds what another run of `patchbank segment` wrote "
            f"(other {', '.join(differing)}); {OTHER}"
        )
    problems, waiting = list[str](), list[Input]()
    for one in inputs:
        others, complete = _outputs(writer, one)
        picture = printable(str(one.path))
        problems += [
            f"{printable(str(file))} was made of another picture than {picture}, or of an earlier state"
            for file in others
        ]
        waiting += [] if complete else [one]
    raise_problems(f"--out {folder} holds outputs under the same names", problems, "Name another folder with --out.")
    return waiting


def _check_foreign(folder: Path) -> None:
    """Refuse a folder whose sub-folders of outputs hold something that no run of ours noted."""
    for kind in OUTPUTS:
        inside = sorted(path.name for path in (folder / kind).iterdir()) if (folder / kind).is_dir() else []
        if inside:
            more = ", ..." if len(inside) > SHOWN else ""
            names = printable(", ".join(inside[:SHOWN]))
            raise UserError(
                f"--out {folder} has a folder {kind!r} ({names}{more}) that `patchbank segment` did not write; {OTHER}"
            )


def _differing(known: Mapping[str, Any], ours: Mapping[str, Any]) -> list[str]:
    """What tells the run of a legend from ours, in words of the command line."""
    if not isinstance(known.get("run"), dict) or not known["run"]:
        return ["version of patchbank, which did not note its settings"]
    before, now = known["run"], ours["run"]
    words = [
        key if key in ("checkpoint", "weights", "clusters") else f"{key}: {before.get(key)}, now {now.get(key)}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    return words or (["ids"] if any(known.get(key) != ours[key] for key in ("kind", "ids")) else [])


def _outputs(writer: PictureWriter, one: Input) -> tuple[list[Path], bool]:
    """Outputs in the place of those of `one` that were not made of it, and whether all of its own are there.

    What is no file fails when it is written.
    """
    files = writer.files(one.name).values()
    there = [file for file in files if file.is_file()]
    if not there:
        return [], False
    try:
        source = writer.source(one.name)
    except OSError:
        return [], False  # a picture that cannot be read is named when its turn comes
    others = [file for file in there if _source(file) != source]
    return others, not others and len(there) == len(files)


def _source(file: Path) -> str | None:
    if file.suffix != ".npz":
        return source_of(file)
    try:
        source = read_npz(file, ["source"]).get("source")
    except UserError:  # no archive, or a broken one: not ours
        return None
    return None if source is None else str(source)
