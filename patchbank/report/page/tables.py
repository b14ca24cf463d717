"""Tables for a browser: the cells of `report.md`, with what is needed to sort, mark and draw bars.

Input: header and lines as `patchbank.report.markdown` makes them. Output: `Table`, which the template `table` of
`templates/parts.html.j2` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from patchbank.report.content import Report
from patchbank.report.markdown import WORDS, class_table, elsewhere_table, published_table, without_empty
from patchbank.report.protocols import MEANING
from patchbank.report.rows import score_of
from patchbank.report.text import NOTHING, name_of, protocol_text, verdict
from patchbank.report.text import mark as mark_of

if TYPE_CHECKING:
    from patchbank.report.page.sheets import Sheet

MARK = "floor or ceiling"
CATEGORIES = ["method", "category", "clusters", "% of the patches"]
VERDICTS = {1: "better", -1: "worse", 0: "no difference shown"}
"""What `patchbank.report.text.verdict` finds, in a cell."""

SCORE = "± std (n)"
"""End of the title of the column with the protocol's score."""

TEXT = (*WORDS, "against", "95 % interval", "what it says", "category", "clusters")
"""Titles of the columns that hold words."""


@dataclass(frozen=True)
class Column:
    """A column: its title, and whether it holds numbers (sorted as such, the highest first, at the right)."""

    title: str
    numeric: bool


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        cells: text, one for each column.
        mark: `floor`, `ceiling` or nothing; it stands beside the method's name, where a phone shows it.
        bars: percent to draw beside numbers, by column.
    """

    cells: Sequence[str]
    mark: str = ""
    bars: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table with a caption for those who hear the page; `named` is the column of the methods' names."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    named: int = 0


def make_table(caption: str, header: Sequence[str], lines: Sequence[Sequence[str]], bars: Sequence[str] = ()) -> Table:
    """A table from cells.

    Args:
        caption: what it shows.
        header: titles of the columns; those of `TEXT`, and the first, hold words; those of `OPTIONAL` are left out
            where they hold nothing; the column `MARK` becomes the lines' mark.
        lines: cells.
        bars: titles of the columns whose numbers are percent and get a bar.
    """
    header, lines = without_empty(header, lines)
    mark = header.index(MARK) if MARK in header else None
    kept = [index for index in range(len(header)) if index != mark]
    columns = [Column(header[index], not (header[index] in TEXT or index == 0)) for index in kept]
    drawn = [index for index, column in enumerate(columns) if column.title in bars]
    made = []
    for line in lines:
        cells = [line[index] for index in kept]
        shares = {index: max(0.0, float(cells[index].split()[0])) for index in drawn if cells[index] != NOTHING}
        made.append(Line(cells, "" if mark is None else line[mark], shares))
    titles = [column.title for column in columns]
    return Table(caption, columns, made, titles.index("method") if "method" in titles else 0)


def protocol_tables(names: Sequence[str], make: Callable[[str], Table]) -> list[dict[str, Any]]:
    """One entry for each protocol: its `name`, its `meaning` and `table` = make(name)."""
    return [{"name": name, "meaning": MEANING.get(name, ""), "table": make(name)} for name in names]


def matrix(report: Report) -> Table | None:
    """Rows against protocols: the mean of each row's first score under each; None without scores."""
    names = list(dict.fromkeys(row.protocol for row in report.rows))
    scores: dict[str, dict[str, str]] = {}
    marks: dict[str, str] = {}
    for row in report.rows:
        found = score_of(row)
        scores.setdefault(name_of(row), {}).setdefault(row.protocol, f"{found.mean:.1f}")
        marks[name_of(row)] = mark_of(row)
    lines = [[name, *(by.get(one, NOTHING) for one in names), marks[name]] for name, by in scores.items()]
    return make_table("Every row under every protocol, percent", ["method", *names, MARK], lines) if lines else None


def scores_table(protocol: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """All rows of one protocol, methods, floors and ceilings, with a bar beside each score."""
    bars = [name for name in header if name.endswith(SCORE)]
    return make_table(f"Scores under {protocol}", header, lines, bars)


def elsewhere_scores(report: Report) -> Table | None:
    """Scores at several preprocessing variants side by side, None where there is only one."""
    return make_table("Scores by preprocessing", *elsewhere_table(report)) if report.elsewhere else None


def classes_table(report: Report) -> Table | None:
    """IoU of each class, one column for each row of the headline protocol; None where no row has classes."""
    header, lines = class_table(report.classes, report.rows)
    return make_table("IoU of each class, percent", header, lines, bars=header[1:]) if len(header) > 1 else None


def comparisons_table(report: Report) -> Table | None:
    """Paired differences between two rows, None where there are none."""
    names = {row.method: name_of(row) for row in report.rows}
    header = ["method", "against", "protocol", "difference", "95 % interval", "what it says", "images", "runs"]
    lines = [
        [
            names.get(entry.a, entry.a),
            names.get(entry.b, entry.b),
            protocol_text(*entry.key),
            f"{entry.difference:+.1f}",
            f"{entry.low:+.1f} to {entry.high:+.1f}",
            VERDICTS[verdict(entry.low, entry.high)],
            str(entry.n_images),
            " and ".join(map(str, entry.runs)),
        ]
        for entry in report.comparisons
    ]
    return make_table("Paired differences, points", header, lines) if lines else None


def published_numbers(report: Report) -> Table | None:
    """Numbers of papers under protocols of this report, None where there are none."""
    numbers = report.published
    return make_table("Published numbers, percent", *published_table(numbers)) if numbers else None


def categories_table(sheets: Mapping[str, Sequence[Sheet]], names: Sequence[str]) -> Table:
    """The categories of named rows: which clusters each is made of, and its share of the patches.

    Args:
        sheets: of the clusters of each row; `klass` is the category, None in a row without names.
        names: of the categories.
    """
    lines = []
    for row, made in sheets.items():
        for category in sorted({sheet.klass for sheet in made if sheet.klass is not None}):
            merged = sorted((sheet for sheet in made if sheet.klass == category), key=lambda sheet: sheet.cluster)
            numbers, share = ", ".join(str(sheet.cluster) for sheet in merged), sum(sheet.share for sheet in merged)
            lines.append([row, names[category], numbers, f"{share:.1f}"])
    return make_table("Categories and the clusters that they are made of", CATEGORIES, lines)
