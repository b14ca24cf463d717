"""Which files `patchbank segment` works on, and how their outputs are called."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.depth import Treatment
from patchbank.datasets.formats import without_suffix
from patchbank.datasets.listing import OUTPUTS, Search, output_of, printable, told
from patchbank.datasets.manifest import Manifest, manifest_above
from patchbank.datasets.pages import located, pages
from patchbank.errors import UserError, raise_problems
from patchbank.files import read_json

CHECKPOINT = "checkpoint.safetensors"


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


def find_inputs(
    paths: Sequence[str | Path], out: str | Path, report: Callable[[str], None] = lambda sentence: None
) -> list[Input]:
    """Every picture that `paths` name: files (of several pages: each page), folders with all pictures below, sorted.

    What is a picture is the rule of `patchbank.datasets.listing`, the same as for datasets. Everything below `out` is
    left out, so that outputs never become inputs. A file that is named twice is one input.

    Args:
        paths: files and folders.
        out: folder of the outputs.
        report: called with one text for all that is left out of a folder.

    Raises:
        UserError: a path that does not exist, a folder without pictures, or pictures whose outputs would have the
            same name; all of them in one message.
    """
    problems: list[str] = []
    by_picture: dict[str, dict[Path, Input]] = {}
    for path in map(Path, paths):
        if path.is_dir():
            search = Search()
            try:
                inside = _pictures(search, path, Path(out))
            except OSError as error:
                problems.append(f"{path} cannot be read ({error.strerror})")
                continue
            left_out = "; ".join(told(search.left_out, path))
            if not inside:
                problems.append(f"{path} holds no picture" + (f"; left out: {left_out}" if left_out else ""))
            elif left_out:
                report(f"below {printable(str(path))}: {left_out}")
            inputs = [Input(file, _output_name(file.relative_to(path))) for file in inside]
        elif os.path.lexists(path) or located(path)[1]:
            inputs = [Input(page, _output_name(Path(page.name))) for page in pages(path)]
        else:
            problems.append(f"{path} does not exist")
            continue
        for one in inputs:
            # a system may store the outputs of two Unicode forms of a name as one file
            by_picture.setdefault(unicodedata.normalize("NFC", one.name), {}).setdefault(_real(one.path), one)
    for name, files in sorted(by_picture.items()):
        if len(files) > 1:
            both = " and ".join(printable(str(one.path)) for one in files.values())
            problems.append(f"{both} would both be written as {printable(name)}.png")
    raise_problems(
        "The input cannot be used",
        problems,
        "Name existing pictures or folders; pictures of one name need runs of their own, or a common folder above.",
    )
    return [next(iter(files.values())) for _, files in sorted(by_picture.items())]


def row_checkpoint(row: str | Path) -> Path:
    """The checkpoint of a row of results.

    Args:
        row: ``results/<set>/<row>`` or one training of it; of several trainings the one whose clusters were matched to
            classes is taken, else the first.

    Raises:
        UserError: there is none.
    """
    folder = Path(row)
    seeds = sorted(folder.glob(f"seed*/{CHECKPOINT}"), key=lambda path: (len(path.parent.name), path.parent.name))
    scores = folder / "scores.json"
    matching = (read_json(scores).get("matching") or {}) if scores.is_file() else {}
    matched = [path for path in seeds if path.parent.name == f"seed{matching.get('training_seed')}"]
    checkpoints = [path for path in [folder / CHECKPOINT, *matched, *seeds] if path.is_file()]
    if not checkpoints:
        source = folder.name.split("+")[0]
        advice = f"name its source, row {source}" if "+" in folder.name else "name a row that is trained"
        raise UserError(f"--row {row} has no {CHECKPOINT}; {advice}, e.g. results/mine/kmeans.")
    return checkpoints[0]


def set_treatment(checkpoint: str | Path) -> Treatment | None:
    """How the set that a checkpoint was trained on treats deep pictures; None where it had none, or is not known."""
    manifest = manifest_above(Path(checkpoint).resolve(), 2)
    return None if manifest is None else Manifest.load(manifest).depth


def _pictures(search: Search, folder: Path, out: Path) -> list[Path]:
    """The pictures below `folder`; in the folder of the outputs itself, all but what is written there."""
    if what := output_of(folder):
        search.leave(folder, what)
        return []
    inside = [out / name for name in OUTPUTS] if out.resolve() == folder.resolve() else [out]
    return search.below(folder, dict.fromkeys(inside, "folders of the outputs"))


def _output_name(path: Path) -> str:
    return path.with_name(without_suffix(path.name)).as_posix()


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a link to itself; reading it will name it
        return path.absolute()
