"""`patchbank compare A B`: what changed between two runs of one dataset."""

from __future__ import annotations

import argparse
import json

from patchbank.paths import expand_path

HELP = "say what changed between two runs of one dataset: scores, classes, images"
WHERE = "folder of a finished run, e.g. results/demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The two runs, and the form of the answer."""
    parser.add_argument("a", metavar="A", type=expand_path, help=WHERE)
    parser.add_argument("b", metavar="B", type=expand_path, help="the same of the run that is compared with it")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the comparison."""
    from patchbank.report.two_runs import compare_runs, comparison_text

    comparison = compare_runs(options.a, options.b)
    print(json.dumps(comparison, indent=1, ensure_ascii=False) if options.json else comparison_text(comparison), end="")
    return 0
