"""Write `results/summary.{json,md}`: all datasets side by side, one row for each dataset, protocol and method.

Inputs: the `report.json` of every dataset that ran. Outputs: a dict with `datasets` (one entry each, with images,
number of classes, backbone and notes on the data), `rows` (the fields of `KEPT`, percent) and `left_out`, and the same
as Markdown.
Scores of different protocols never stand in one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchbank.plain import to_plain
from patchbank.report.content import Report
from patchbank.report.markdown import DATA, READING, left_out_lines, table, without_empty
from patchbank.report.protocols import MEANING, order, score_name
from patchbank.report.rows import Row, mean_of
from patchbank.report.text import NOTHING, k_text, mark, name_of, percent, score_text, seeds_text

KEPT = (
    "method",
    "protocol",
    "variant",
    "k",
    "k_used",
    "preprocessing",
    "fit",
    "segments",
    "floor",
    "ceiling",
    "oracle",
    "seeds",
    "miou",
    "accuracy",
)
"""Fields of a report's row that the summary repeats, beside `dataset` and `backbone`."""

DATASETS = ("dataset", "training images", "evaluation images", "classes", "backbone", "block", "scores")


def read_reports(paths: Sequence[Path]) -> list[Report]:
    """The reports of all datasets.

    Args:
        paths: `report.json` files, in any order.

    Returns:
        Sorted by dataset.

    Raises:
        UserError: a report is missing, is not JSON, or has not the form of this version.
    """
    return sorted((Report.load(path) for path in paths), key=lambda report: report.dataset)


def build_summary(reports: Sequence[Report]) -> dict[str, Any]:
    """Build the dict of `summary.json`.

    Args:
        reports: of `read_reports`.

    Returns:
        ``{"datasets": [...], "rows": [...], "left_out": [...]}``, rows as in the reports.
    """
    datasets = [
        {
            "dataset": report.dataset,
            "images": report.images,
            "classes": len(report.classes),
            "backbone": report.backbone.name,
            "block": report.backbone.block,
            "labelled": report.labelled,
            "data": report.data,
            "scored": bool(report.rows),
        }
        for report in reports
    ]
    rows = []
    for report in reports:
        for row in map(to_plain, report.rows):
            kept = {name: row[name] for name in KEPT}
            rows.append({"dataset": report.dataset, "backbone": report.backbone.name, **kept})
    left_out = [{"dataset": report.dataset, **asdict(entry)} for report in reports for entry in report.left_out]
    return {"datasets": datasets, "rows": rows, "left_out": left_out}


def summary_markdown(reports: Sequence[Report]) -> str:
    """The text of `summary.md`; it links each `<dataset>/report.md` beside it.

    Args:
        reports: of `read_reports`.

    Returns:
        Markdown that ends with a newline.
    """
    if not reports:
        return "# Summary\n\nNo dataset is enabled, so there is nothing to show.\n"
    parts = ["# Summary", *_data_section(reports), _dataset_table(reports)]
    protocols = scored_protocols(reports)
    if protocols:
        parts += ["## Scores", READING]
    for protocol in protocols:
        meaning = [MEANING[protocol]] if protocol in MEANING else []
        parts += [f"### `{protocol}`", *meaning, table(*protocol_table(protocol, reports))]
    if lines := left_out_sentences(reports):
        parts += ["## Left out", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(parts) + "\n"


def scored_protocols(reports: Sequence[Report]) -> list[str]:
    """Protocols with a row in some report, in the order of the tables."""
    return sorted({protocol for report in reports for protocol in report.protocols}, key=order)


def left_out_sentences(reports: Sequence[Report]) -> list[str]:
    """What was left out of every dataset, its name in front."""
    return [f"{report.dataset}: {line}" for report in reports for line in left_out_lines(report.left_out)]


def protocol_table(protocol: str, reports: Sequence[Report]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of one protocol's rows of all datasets."""
    score = f"{score_name(protocol)} ± std (n)"
    header = ["dataset", "method", "variant", score, "accuracy", "segments", "K (used)", "seeds"]
    cells = [_cells(report, row) for report in reports for row in report.rows if row.protocol == protocol]
    return without_empty([*header, "floor or ceiling", "preprocessing", "note"], cells)


def _cells(report: Report, row: Row) -> list[str]:
    return [
        report.dataset,
        name_of(row),
        row.variant.replace("_", " "),
        score_text(row.miou),
        percent(mean_of(row.accuracy)),
        percent(row.segments),
        k_text(row),
        seeds_text(row),
        mark(row),
        row.preprocessing,
        "fit: val" if row.fit == "val" else "",
    ]


def dataset_cells(report: Report) -> list[str]:
    """Cells of one dataset under `DATASETS`."""
    nothing = "nothing to score" if report.labelled else "no labels"
    return [
        report.dataset,
        str(report.images["train"]),
        str(report.images["eval"]),
        str(len(report.classes)),
        report.backbone.name,
        str(report.backbone.block),
        "below" if report.rows else f"{NOTHING} ({nothing})",
    ]


def data_notes(reports: Sequence[Report]) -> list[str]:
    """What a reader must know of the sets before any score, each sentence behind its set's name."""
    return [f"{report.dataset}: {note}" for report in reports for note in report.data]


def _data_section(reports: Sequence[Report]) -> list[str]:
    notes = data_notes(reports)
    return [f"## {DATA}", "\n".join(f"- {note}" for note in notes), "## Datasets"] if notes else []


def _dataset_table(reports: Sequence[Report]) -> str:
    lines = [dataset_cells(report) for report in reports]
    return table(DATASETS, ([f"[{line[0]}]({line[0]}/report.md)", *line[1:]] for line in lines))
