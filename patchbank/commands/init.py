"""`patchbank init DIR`: lay out a workflow folder from the installed package, for those who do not clone."""

from __future__ import annotations

import argparse
import shlex

from patchbank.paths import expand_path

HELP = "lay out a folder in which `snakemake` runs: Snakefile, config.yaml, rules, scripts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder."""
    parser.add_argument("folder", metavar="DIR", type=expand_path, help="a folder that is empty or not there yet")


def run(options: argparse.Namespace) -> int:
    """Lay out, and print the next command."""
    from patchbank.config.lay_out import lay_out

    lay_out(options.folder)
    print(f"{options.folder} is laid out; next: cd {shlex.quote(str(options.folder))} && snakemake all")
    return 0
