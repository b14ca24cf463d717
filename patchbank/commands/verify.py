"""`patchbank verify PATH`: read every row of a bank and compare its checksum."""

from __future__ import annotations

import argparse

from patchbank.paths import expand

HELP = "read every row of a bank and compare its checksum"
WHERE = "a bank's folder, its bank.json, or the pipeline's pointer, e.g. results/demo/bank/train-whole.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bank."""
    parser.add_argument("path", metavar="PATH", type=expand, help=WHERE)


def run(options: argparse.Namespace) -> int:
    """Print how many rows match."""
    from patchbank.bank.verify import verify_bank

    rows = verify_bank(options.path)
    print(f"{rows} rows, all checksums match" if rows else "the bank holds no row, so there is nothing to verify")
    return 0
