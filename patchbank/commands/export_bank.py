"""`patchbank export bank BANK --format F --out DIR`: the bank for other tools."""

from __future__ import annotations

import argparse

from patchbank.commands.verify import WHERE
from patchbank.outputs import add_overwrite_export
from patchbank.paths import expand

HELP = "write a bank for other tools: npy, zarr, parquet"
FORMATS = ("npy", "zarr", "parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bank, the format, the output."""
    parser.add_argument("bank", metavar="BANK", type=expand, help=WHERE)
    parser.add_argument("--format", required=True, choices=FORMATS)
    parser.add_argument("--out", required=True, type=expand, help="the folder to write")
    add_overwrite_export(parser)


def run(options: argparse.Namespace) -> int:
    """Export."""
    from patchbank.exports.bank import export_bank

    samples, fields = export_bank(options.bank, options.out, options.format, options.overwrite)
    print(f"{options.out}: {samples} samples of {', '.join(fields)} as {options.format}")
    return 0
