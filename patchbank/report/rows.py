"""Rows of scores: read from `scores.json` files, checked for their fields, sorted for the tables.

Inputs: `scores.json` of the score stage, ``{"rows": [...], "matching": {...}}``. Output: a list of rows, each a dict
with the fields named in `FIELDS` (percent everywhere), without exact duplicates (two files may carry the same floor).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.errors import UserError, raise_problems
from patchbank.files import read_json
from patchbank.left_out import LeftOut, left_out_at
from patchbank.report.protocols import HEADLINE, order, variant_order

Row = dict[str, Any]

FIELDS = (
    "method",
    "protocol",
    "variant",
    "k",
    "k_used",
    "preprocessing",
    "fit",
    "segments",
    "settings",
    "floor",
    "ceiling",
    "oracle",
    "seeds",
    "miou",
    "accuracy",
    "class_accuracy",
    "per_class",
    "note",
)
"""Fields that every row has; further ones are kept as they are."""


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """All rows of all files, sorted by `sort_rows`, exact duplicates once; a row that was left out has none.

    Args:
        paths: `scores.json` files in any order.

    Returns:
        The rows; empty where nothing is labelled.

    Raises:
        UserError: a file is missing, is not JSON, has no list of rows, or rows lack fields (all of them are named).
    """
    problems: list[str] = []
    found: dict[str, Row] = {}
    for path in paths:
        if left_out_at(path) is not None:
            continue
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
            raise UserError(f"{path} holds no list of rows under 'rows'; `snakemake --force {path}` makes it again.")
        for index, row in enumerate(content["rows"]):
            missing = [name for name in FIELDS if name not in row]
            if missing:
                problems.append(f"{path}: row {index} has no {', '.join(missing)}")
            else:
                found[_canonical(row)] = row
    raise_problems("scores cannot be reported", problems, "`snakemake --force` with their names makes them again.")
    return sort_rows(list(found.values()))


def with_facts(rows: Sequence[Row], facts: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The rows with what the configuration knows of them.

    Args:
        rows: of the tables.
        facts: row's name -> `sees_tokens`, `at` and `postprocess`, as of `patchbank.methods.contract.Method` and its
            traits; rows without an entry are left as they are.
    """
    return [row | dict(facts.get(row["method"], {})) for row in rows]


def read_left_out(paths: Sequence[Path]) -> list[LeftOut]:
    """What was left out among `scores.json` files, rows and protocols of rows (`missing`), each once, sorted."""
    found: set[LeftOut] = set()
    for path in paths:
        row = left_out_at(path)
        found |= {row} if row else {LeftOut(**entry) for entry in read_json(path).get("missing", [])}
    return sorted(found)


def group(row: Mapping[str, Any]) -> int:
    """0 for a method, 1 for a floor, 2 for a ceiling."""
    return 2 if row["ceiling"] else 1 if row["floor"] else 0


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """Methods, then floors, then ceilings; inside by protocol, K, variant, method; order of the input is irrelevant."""
    return sorted(
        rows,
        key=lambda row: (
            group(row),
            order(row["protocol"]),
            -1 if row["k"] is None else row["k"],
            variant_order(row["variant"]),
            row["method"],
            _canonical(row),
        ),
    )


def trained(rows: Sequence[Row]) -> list[Row]:
    """The rows that are neither floor nor ceiling."""
    return [row for row in rows if group(row) == 0]


def mean_of(score: Mapping[str, Any] | None) -> float | None:
    """Mean of a score ``{"mean", "std", "n"}``, None where there is none."""
    return None if score is None or score["mean"] is None else float(score["mean"])


def headline_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of the trained methods under the headline protocol, else under the first protocol there is."""
    methods = [row for row in trained(rows) if mean_of(row["miou"]) is not None]
    first = min((row["protocol"] for row in methods), key=order, default="")
    shown = HEADLINE if any(row["protocol"] == HEADLINE for row in methods) else first
    return [row for row in methods if row["protocol"] == shown]


def headline_classes(rows: Sequence[Row]) -> list[Row]:
    """Rows with scores of classes under the headline protocol, in their order."""
    return [row for row in rows if row["protocol"] == HEADLINE and row["per_class"]]


def runs_of(score: Mapping[str, Any]) -> int:
    """Number of runs behind a score."""
    return int(score["n"])


def _canonical(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True)
