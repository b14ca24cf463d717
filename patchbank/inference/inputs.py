"""Which files `patchbank segment` works on, and how their outputs are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.images import SUFFIXES
from patchbank.errors import UserError, raise_problems


@dataclass(frozen=True)
class Input:
    """One picture.

    Attributes:
        path: the file.
        name: POSIX path of its outputs, relative to their folder and without suffix: the file's stem, below the
            folder that it was found in.
    """

    path: Path
    name: str


def find_inputs(paths: Sequence[str | Path], out: str | Path) -> list[Input]:
    """Every picture that `paths` name: files as they are, folders with all image files below them, sorted.

    Hidden files and everything below `out` are left out, so that outputs never become inputs. A file that is named
    twice is one input.

    Args:
        paths: files and folders.
        out: folder of the outputs.

    Raises:
        UserError: a path that does not exist, a folder without pictures, or pictures whose outputs would have the
            same name; all of them in one message.
    """
    problems: list[str] = []
    found: dict[str, dict[Path, Path]] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = list(_pictures(path, Path(out).resolve()))
            if not inside:
                problems.append(f"{path} holds no picture ({', '.join(SUFFIXES)})")
            for file in inside:
                name = file.relative_to(path).with_suffix("").as_posix()
                found.setdefault(name, {}).setdefault(file.resolve(), file)
        elif path.exists():
            found.setdefault(path.stem, {}).setdefault(path.resolve(), path)
        else:
            problems.append(f"{path} does not exist")
    for name, files in sorted(found.items()):
        if len(files) > 1:
            problems.append(f"{' and '.join(map(str, files.values()))} would both be written as {name}.png")
    raise_problems(
        "The input cannot be used",
        problems,
        "Name existing pictures or folders; pictures of one name need runs of their own, or a common folder above.",
    )
    return [Input(next(iter(files.values())), name) for name, files in sorted(found.items())]


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


def _pictures(folder: Path, out: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(f for f in folders if not f.startswith(".") and (here / f).resolve() != out)
        if here.resolve() != out:
            yield from (here / f for f in sorted(files) if not f.startswith(".") and Path(f).suffix.lower() in SUFFIXES)
