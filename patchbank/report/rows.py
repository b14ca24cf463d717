"""Rows of scores: parsed from `scores.json` files, checked for their fields, sorted for the tables.

Inputs: `scores.json` of the score stage, ``{"rows": [...], "matching": {...}}``. Output: `Row`s (percent everywhere),
without exact duplicates (two files may carry the same floor).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchbank.errors import UserError, raise_problems
from patchbank.files import read_json
from patchbank.left_out import LeftOut, left_out_at
from patchbank.plain import from_plain, to_plain
from patchbank.report.protocols import HEADLINE, order, variant_order

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

AGAIN = "`snakemake --force` with their names makes them again."
"""The way out of scores of another version."""


@dataclass(frozen=True)
class Spread:
    """A score over runs, percent: mean, standard deviation (ddof 1; None for one run), number of runs."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Seeds:
    """Seeds behind a row; empty where a kind of seed plays no part."""

    training: tuple[int, ...] = ()
    kmeans: tuple[int, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What the configuration knows of a row, see `patchbank.methods.contract.Method` and its traits.

    Attributes:
        sees_tokens: whether a floor sees the same tokens as the methods.
        at: number of segments that a floor was asked for, else 0.
        postprocess: post-processing between patches and pixels, nothing without one.
    """

    sees_tokens: bool = False
    at: int = 0
    postprocess: str = ""


@dataclass(frozen=True)
class Row:
    """One line of a table: a method's score under one protocol, variant and K.

    Attributes:
        method: name of the row.
        protocol, variant: id of the protocol and which of its scores, ``""`` where it has one.
        k: number of clusters asked for, None inside the image.
        k_used: the numbers of clusters that were used, ascending.
        preprocessing: at which labels were compared.
        fit: split that clusters or learned classes were fitted on, None for a method without any.
        segments: mean number used in an image.
        settings: of the method.
        floor, ceiling: what the row is beside the methods.
        oracle: splits whose labels were used for a choice or for training (`patchbank.oracle`), None for none.
        seeds: behind the spreads.
        miou, accuracy, class_accuracy: None where the protocol has none.
        per_class: percent by class id, None where a class is dropped; empty without classes.
        note: what a reader must know to compare the row.
        things, stuff: the score over a part of the classes.
        upsample: from patches to pixels, ``"nearest"``, ``"bilinear"``, or why it was another.
        sees_tokens, at, postprocess: as of `Facts`.
    """

    method: str
    protocol: str
    variant: str
    k: int | None
    k_used: tuple[int, ...]
    preprocessing: str
    fit: str | None
    segments: float | None
    settings: Mapping[str, Any]
    floor: bool
    ceiling: bool
    oracle: str | None
    seeds: Seeds
    miou: Spread | None
    accuracy: Spread | None
    class_accuracy: Spread | None
    per_class: tuple[float | None, ...]
    note: str
    things: Spread | None = None
    stuff: Spread | None = None
    upsample: str = "nearest"
    sees_tokens: bool = False
    at: int = 0
    postprocess: str = ""

    @property
    def key(self) -> tuple[str, str, int | None]:
        """Protocol, variant and K: what two rows must share to be compared."""
        return self.protocol, self.variant, self.k

    @cached_property
    def canonical(self) -> str:
        """The row as text, the same for equal rows."""
        return json.dumps(to_plain(self), sort_keys=True)


def misfit(kind: type[DataclassInstance], values: Mapping[str, Any]) -> str:
    """What keeps a mapping from being a `kind`, behind "has": fields that it lacks, or that no `kind` has."""
    if missing := [field.name for field in fields(kind) if field.default is MISSING and field.name not in values]:
        return f"no {', '.join(missing)}"
    unknown = sorted(set(values) - {field.name for field in fields(kind)})
    return f"{', '.join(unknown)}, which this version does not know" if unknown else ""


def parse_rows(values: Sequence[Mapping[str, Any]], path: Path, problems: list[str]) -> list[Row]:
    """Rows of a file.

    Args:
        values: the rows as JSON has them.
        path: the file, for messages.
        problems: receives a sentence for every row that lacks fields, or has some that no row has.
    """
    rows = []
    for index, row in enumerate(values):
        if problem := misfit(Row, row):
            problems.append(f"{path}: row {index} has {problem}")
        else:
            rows.append(from_plain(Row, row))
    return rows


def read_rows(paths: Sequence[Path]) -> list[Row]:
    """All rows of all files, sorted by `sort_rows`, exact duplicates once; a row that was left out has none.

    Args:
        paths: `scores.json` files in any order.

    Returns:
        The rows; empty where nothing is labelled.

    Raises:
        UserError: a file is missing, is not JSON, has no list of rows, or rows lack fields or have unknown ones (all
            of them are named).
    """
    problems: list[str] = []
    rows: dict[str, Row] = {}
    for path in paths:
        if left_out_at(path) is not None:
            continue
        content = read_json(path)
        if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
            raise UserError(f"{path} holds no list of rows under 'rows'; `snakemake --force {path}` makes it again.")
        rows |= {row.canonical: row for row in parse_rows(content["rows"], path, problems)}
    raise_problems("scores cannot be reported", problems, AGAIN)
    return sort_rows(list(rows.values()))


def with_facts(rows: Sequence[Row], facts: Mapping[str, Facts]) -> list[Row]:
    """The rows with what the configuration knows of them; rows without an entry are left as they are."""
    return [replace(row, **to_plain(facts[row.method])) if row.method in facts else row for row in rows]


def read_left_out(paths: Sequence[Path]) -> list[LeftOut]:
    """What was left out among `scores.json` files, rows and protocols of rows (`missing`), each once, sorted."""
    entries: set[LeftOut] = set()
    for path in paths:
        row = left_out_at(path)
        entries |= {row} if row else {LeftOut(**entry) for entry in read_json(path).get("missing", [])}
    return sorted(entries)


def group(row: Row) -> int:
    """0 for a method, 1 for a floor, 2 for a ceiling."""
    return 2 if row.ceiling else 1 if row.floor else 0


def sort_rows(rows: Sequence[Row]) -> list[Row]:
    """Methods, then floors, then ceilings; inside by protocol, K, variant, method; order of the input is irrelevant."""
    return sorted(
        rows,
        key=lambda row: (
            group(row),
            order(row.protocol),
            -1 if row.k is None else row.k,
            variant_order(row.variant),
            row.method,
            row.canonical,
        ),
    )


def trained(rows: Sequence[Row]) -> list[Row]:
    """The rows that are neither floor nor ceiling."""
    return [row for row in rows if group(row) == 0]


def mean_of(score: Spread | None) -> float | None:
    """Mean of a score, None where there is none."""
    return None if score is None else score.mean


def score_of(row: Row) -> Spread:
    """The score of a row that has one."""
    if row.miou is None:
        raise ValueError(f"{row.method} has no score under {row.protocol}.")
    return row.miou


def headline_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of the trained methods under the headline protocol, else under the first protocol there is."""
    methods = [row for row in trained(rows) if row.miou is not None]
    first = min((row.protocol for row in methods), key=order, default="")
    shown = HEADLINE if any(row.protocol == HEADLINE for row in methods) else first
    return [row for row in methods if row.protocol == shown]


def headline_classes(rows: Sequence[Row]) -> list[Row]:
    """Rows with scores of classes under the headline protocol, in their order."""
    return [row for row in rows if row.protocol == HEADLINE and row.per_class]
