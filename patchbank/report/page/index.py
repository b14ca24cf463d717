"""Write `results/index.html`: all datasets side by side, and the way to the page of each.

Input: the reports of all datasets. Output: one HTML file that needs nothing beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchbank.files import write_text
from patchbank.report.content import Report
from patchbank.report.markdown import DATA, READING
from patchbank.report.page.render import render
from patchbank.report.page.tables import Table, make_table, protocol_tables, scores_table
from patchbank.report.summary import (
    DATASETS,
    data_notes,
    dataset_cells,
    left_out_sentences,
    protocol_table,
    scored_protocols,
)


def write_index(reports: Sequence[Report], out: Path) -> None:
    """Write the page.

    Args:
        reports: of `patchbank.report.summary.read_reports`.
        out: `results/index.html`; the datasets' pages are looked for beside it as `<dataset>/index.html`, and a
            dataset that has none (it ran with an older version) leads to its `report.md`.
    """
    names = [report.dataset for report in reports]
    pages = {name: "index.html" if (out.parent / name / "index.html").is_file() else "report.md" for name in names}

    def scores(protocol: str) -> Table:
        return scores_table(protocol, *protocol_table(protocol, reports))

    write_text(
        out,
        render(
            "index.html.j2",
            datasets=make_table("Datasets", DATASETS, [dataset_cells(report) for report in reports]),
            links={name: f"{name}/{page}" for name, page in pages.items()},
            reading=READING,
            data_title=DATA,
            data=data_notes(reports),
            protocols=protocol_tables(scored_protocols(reports), scores),
            left_out=left_out_sentences(reports),
        ),
    )
