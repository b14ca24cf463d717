"""Rows that cannot be made: what stands in the place of their files, so that all other rows are still written.

A row that nobody asked for by name (floor, ceiling, post-processing, a further preprocessing) may be impossible on the
data that there is: a probe has no labels to learn from, a library is not installed. Its stage raises `CannotBeMade`,
and `patchbank.scripting.stage` leaves a small JSON file in the place of every output, which the later stages of the
row pass on and the reports say. A row of `methods` is never left out: there the same exception stops the run, as does
every other error of any row.

| key | meaning |
|---|---|
| `left_out` | `row` (name of the row), `at` (further preprocessing, else nothing), `reason` (a sentence) |
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from patchbank.errors import UserError
from patchbank.files import write_json

START = b'{\n "left_out": {'
"""First bytes of such a file; no other file of a row begins like this."""


class CannotBeMade(UserError):
    """A row cannot be made of what is there; the message is a whole sentence that says why, and the way out."""


@dataclass(frozen=True, order=True)
class LeftOut:
    """A row that was left out.

    Attributes:
        row: its name.
        at: further preprocessing at which it was left out; nothing for the row as a whole.
        reason: a sentence.
    """

    row: str
    at: str
    reason: str

    @property
    def sentence(self) -> str:
        """What a report says under the heading `Left out`."""
        return f"{self.row}{f' at {self.at}' if self.at else ''}: {self.reason}"


def write_left_out(paths: Iterable[str | Path], entry: LeftOut) -> None:
    """Write the file in the place of every output; an output without a suffix is a folder, and stays empty."""
    for path in map(Path, paths):
        if path.suffix:
            write_json(path, {"left_out": asdict(entry)})
        else:
            path.mkdir(parents=True, exist_ok=True)


def left_out_at(path: str | Path) -> LeftOut | None:
    """What was left out, where such a file stands at `path`; None for any other file, a folder, or none."""
    if not Path(path).is_file():
        return None
    with Path(path).open("rb") as file:
        if file.read(len(START)) != START:
            return None
    return LeftOut(**json.loads(Path(path).read_text(encoding="utf-8"))["left_out"])


def first_left_out(paths: Iterable[str | Path]) -> LeftOut | None:
    """The first row that was left out among files, None where all are there."""
    return next((entry for path in paths if (entry := left_out_at(path)) is not None), None)
