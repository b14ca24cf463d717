"""What a command may write over: nothing but the same again, unless `--overwrite` says so.

An output that a user named may be in use: by another run, or by a file that is not ours. The same command again gives
the same, and goes through; everything else is refused with what is there, and stays as it is.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchbank.errors import UserError
from patchbank.files import write_json

FLAG = "--overwrite"


def add_overwrite(parser: argparse.ArgumentParser, over: str = "what is there, whatever it is") -> None:
    """The flag of every command that writes to a path of the user's; `over` says what it may write over."""
    parser.add_argument(FLAG, action="store_true", help=f"write over {over}")


def add_overwrite_export(parser: argparse.ArgumentParser) -> None:
    """The same flag of commands that write a folder of their own (`patchbank.exports.folder`)."""
    add_overwrite(parser, "another export that is there; a folder with any other file is refused")


@contextmanager
def output_file(path: str | Path, overwrite: bool = False, option: str = "--out") -> Iterator[Path]:
    """Yield a path of the same name in an empty folder; what is written there, and beside it, then goes to `path`.

    Args:
        path: the output; its folder is made where it is missing.
        overwrite: write over files of other content.
        option: how the command calls `path`.

    Raises:
        UserError: one of the files exists with another content; nothing is written then.
    """
    target = Path(path)
    if target.is_dir():
        raise UserError(f"{option} {path} is a folder; name a file.")
    existing = next(folder for folder in target.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".patchbank-", dir=existing) as folder:
        yield Path(folder, target.name)
        files = sorted(Path(folder).iterdir(), key=lambda file: (file.name != target.name, file.name))
        written = {file: target.with_name(file.name) for file in files}
        for file, goal in written.items():
            if goal.is_dir() or not (overwrite or not goal.exists() or filecmp.cmp(file, goal, shallow=False)):
                raise _in_use(goal, option)
        target.parent.mkdir(parents=True, exist_ok=True)
        for file, goal in written.items():
            file.replace(goal)


def check_output(path: Path, same: Callable[[Path], bool], overwrite: bool = False, option: str = "--out") -> None:
    """Raise `UserError` where `path` exists and `same` does not know it as an earlier state of the same output."""
    if path.is_dir():
        raise UserError(f"{option} {path} is a folder; name a file.")
    if path.exists() and not overwrite and not same(path):
        raise _in_use(path, option)


def claim_folder(
    folder: Path, record: str, run: Mapping[str, Any], outputs: Sequence[str], overwrite: bool = False
) -> None:
    """Note in a folder which run writes to it; refuse one that holds the outputs of another.

    Args:
        folder: of the outputs, made where it is missing.
        record: name of the JSON file that says which run.
        run: everything that tells runs apart, in values of JSON.
        outputs: names of what the run writes.
        overwrite: write over outputs of another run.

    Raises:
        UserError: one of `outputs` is there and `record` does not name the same run.
    """
    wanted = json.loads(json.dumps(run))
    known = _run_of(folder / record)
    if known == wanted:
        return
    taken = [name for name in outputs if (folder / name).exists()]
    if taken and not overwrite:
        differing = [key for key in sorted({*wanted, *known}) if wanted.get(key) != known.get(key)]
        whose = f"of a run of other {', '.join(differing)}" if known else f"of a run that {record} does not name"
        raise UserError(f"--out {folder} holds {', '.join(taken)} {whose}; name another folder, or give {FLAG}.")
    write_json(folder / record, wanted)


def _run_of(record: Path) -> Mapping[str, Any]:
    """What `claim_folder` wrote; empty where it did not."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _in_use(path: Path, option: str) -> UserError:
    from patchbank.recognise import recognise  # it knows all kinds of files, and the command line's help none

    what = recognise(path)[0]
    return UserError(
        f"{path} is there already ({what}) and is not what this command writes; it stays as it is. Give another "
        f"{option}, or {FLAG}."
    )
