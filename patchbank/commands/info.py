"""`patchbank info PATH`: say what a bank holds."""

from __future__ import annotations

import argparse

from patchbank.commands.verify import WHERE
from patchbank.paths import expand

HELP = "say what a bank holds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bank."""
    parser.add_argument("path", metavar="PATH", type=expand, help=WHERE)


def run(options: argparse.Namespace) -> int:
    """Print the bank's description."""
    from patchbank.bank.verify import describe_bank

    print(describe_bank(options.path))
    return 0
