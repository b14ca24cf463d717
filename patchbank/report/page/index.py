"""Write `results/index.html`: all datasets side by side, and the way to the page of each.

Input: the dict of `summary.json`. Output: one HTML file that needs nothing beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.files import write_text
from patchbank.report.markdown import DATA, READING
from patchbank.report.page.render import render
from patchbank.report.page.tables import Table, make_table, protocol_tables, scores_table
from patchbank.report.summary import DATASETS, data_notes, dataset_cells, left_out_sentences, protocol_table


def write_index(summary: Mapping[str, Any], out: Path) -> None:
    """Write the page.

    Args:
        summary: dict of `patchbank.report.summary.build_summary`.
        out: `results/index.html`; the datasets' pages are looked for beside it as `<dataset>/index.html`, and a
            dataset that has none (it ran with an older version) leads to its `report.md`.
    """
    names = [str(entry["dataset"]) for entry in summary["datasets"]]
    pages = {name: "index.html" if (out.parent / name / "index.html").is_file() else "report.md" for name in names}

    def scores(protocol: str) -> Table:
        return scores_table(protocol, *protocol_table(protocol, summary["rows"]))

    write_text(
        out,
        render(
            "index.html.j2",
            summary=summary,
            datasets=make_table("Datasets", DATASETS, [dataset_cells(entry) for entry in summary["datasets"]]),
            links={name: f"{name}/{page}" for name, page in pages.items()},
            reading=READING,
            data_title=DATA,
            data=data_notes(summary["datasets"]),
            protocols=protocol_tables(summary["rows"], scores),
            left_out=left_out_sentences(summary),
        ),
    )
