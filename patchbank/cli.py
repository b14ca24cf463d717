"""The command line: `patchbank verify PATH` and `patchbank info PATH`.

A command calls the same function as the pipeline; bad input is one sentence on stderr and exit status 1.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import patchbank
from patchbank.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except UserError as error:
        print(f"patchbank: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="patchbank", description=patchbank.__doc__)
    parser.add_argument("--version", action="version", version=f"patchbank {patchbank.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    where = "a bank's folder, its bank.json, or the pipeline's pointer, e.g. results/demo/bank/train-whole.json"
    for name, run, text in (
        ("verify", _verify, "read every row of a bank and compare its checksum"),
        ("info", _info, "say what a bank holds"),
    ):
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument("path", metavar="PATH", help=where)
        command.set_defaults(run=run)
    return parser


def _verify(options: argparse.Namespace) -> int:
    from patchbank.bank.verify import verify_bank

    print(f"{verify_bank(options.path)} rows, all checksums match")
    return 0


def _info(options: argparse.Namespace) -> int:
    from patchbank.bank.verify import describe_bank

    print(describe_bank(options.path))
    return 0
