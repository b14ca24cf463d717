"""The commands of `patchbank`, one module each; a new file in this folder is a new command.

A module's name is the command's (`data_check` is ``patchbank data check``) and it defines

- `HELP`: one line, without a full stop;
- `add_arguments(parser)`: its arguments;
- `run(options) -> int`: the work, through the same function as the pipeline; the exit status is returned.

A module whose name ends in ``_`` stands for several commands instead, and its `each()` returns them by name (`import_`
is ``patchbank import METHOD``). Heavy imports stand inside `run`, so that ``patchbank --help`` answers at once. A
user's mistake raises `UserError`.
"""

from __future__ import annotations

import argparse
from typing import Protocol


class Command(Protocol):
    """What a command is: a module of this folder, or one of a module's `each`."""

    @property
    def HELP(self) -> str:
        """One line, without a full stop."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Its arguments."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """The work; the exit status."""
        ...


class MethodCommand:
    """What the commands of `each` share where each is that of a method.

    Args:
        method: its folder.

    Attributes:
        what: `HELP`, with a place for the method.
    """

    what: str

    def __init__(self, method: str) -> None:
        self.method = method

    @property
    def HELP(self) -> str:
        """One line, without a full stop."""
        return self.what.format(self.method)
