"""The command line: `patchbank COMMAND ...`, also `python -m patchbank`; commands are files of `patchbank.commands`.

Bad input is one sentence on stderr and exit status 1, Ctrl-C one and status 130.
"""

from __future__ import annotations

import argparse
import importlib
import io
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import patchbank
from patchbank import commands, stopping
from patchbank.commands import Command
from patchbank.errors import UserError, said_by_the_disk

INTERRUPTED = 130
"""Exit status after Ctrl-C, as of a shell's."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that is not UTF-8 is no reason to end
    stopping.install()
    try:
        options = _parser().parse_args(arguments)
        return int(options.run(options))
    except UserError as error:
        print(f"patchbank: {error}", file=sys.stderr)
    except OSError as error:
        said = said_by_the_disk(error)
        if said is None:
            raise
        print(f"patchbank: {said}", file=sys.stderr)
    except KeyboardInterrupt:
        print("patchbank: interrupted; complete files are kept, run again.", file=sys.stderr)
        return INTERRUPTED
    except stopping.Stopped:
        print(f"patchbank: {stopping.MESSAGE}", file=sys.stderr)
        return stopping.STATUS
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="patchbank", description=patchbank.__doc__)
    parser.add_argument("--version", action="version", version=f"patchbank {patchbank.__version__}")
    groups: dict[str, Any] = {"": parser.add_subparsers(title="commands", required=True, metavar="COMMAND")}
    for name in sorted(module.name for module in pkgutil.iter_modules(commands.__path__)):
        module: Any = importlib.import_module(f"{commands.__name__}.{name}")
        group, _, last = name.rpartition("_")
        if group not in groups:
            shared = groups[""].add_parser(group, help=f"commands about {group}")
            groups[group] = shared.add_subparsers(title="commands", required=True, metavar="COMMAND")
        modules: dict[str, Command] = {last: module} if last else module.each()
        for word, command in modules.items():
            text = command.HELP
            added = groups[group].add_parser(word, help=text, description=text[0].upper() + text[1:] + ".")
            command.add_arguments(added)
            added.set_defaults(run=command.run)
    return parser
