"""`patchbank data fetch SET`: download a set and unpack it, as the rule `fetch_<set>` does."""

from __future__ import annotations

import argparse
from pathlib import Path

from patchbank.paths import expand_path

HELP = "download a set, or say where it can be had"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The set, and where it goes."""
    parser.add_argument("name", metavar="SET", help="voc, coco, cityscapes or lip; see docs/downloads.md")
    parser.add_argument("--data-root", type=expand_path, metavar="DIR", default=Path("data"), help="default: data")


def run(options: argparse.Namespace) -> int:
    """Download what is not there yet."""
    import logging

    from patchbank.fetch import fetch, load_fetch_table

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    fetch(load_fetch_table(options.name), options.data_root)
    return 0
