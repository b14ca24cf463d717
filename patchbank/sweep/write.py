"""Write `sweep.json`, `sweep.md` and the page `sweep.html` of a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from patchbank.evaluation.score import Scoring
from patchbank.files import write_json, write_text
from patchbank.methods.contract import Method
from patchbank.report.page.charts import inline, lines_chart
from patchbank.report.page.render import render
from patchbank.report.page.tables import make_table
from patchbank.sweep.judge import Swept, judge
from patchbank.sweep.text import CRITERIA, judged_table, markdown, reading, score_table, sentences


def write_sweep(
    swept: Sequence[Swept],
    methods: Sequence[Method],
    classes: Sequence[str],
    scoring: Scoring,
    protocol: str,
    out: Path,
) -> None:
    """Judge a sweep and write it.

    Args:
        swept, methods, classes, scoring, protocol: see `patchbank.sweep.judge.judge`.
        out: the JSON file; `.md` and `.html` of the same name are written beside it.
    """
    content = {
        "dataset": scoring.dataset,
        "protocol": protocol,
        **judge(swept, methods, classes, scoring, protocol),
    }
    write_json(out, content)
    write_text(out.with_suffix(".md"), "\n".join(markdown(content)) + "\n")
    write_text(out.with_suffix(".html"), _page(content))


def _page(content: Mapping[str, Any]) -> str:
    names = [encoder["name"] for encoder in content["encoders"]]
    scores = {
        row: [None if (one := e["scores"].get(row)) is None else one["value"] for e in content["encoders"]]
        for row in content["rows"]
    }
    values = {CRITERIA[name]: [e["criteria"][name] for e in content["encoders"]] for name in content["criteria"]}
    label = f"mIoU under {content['protocol']}, percent" if scores else "criterion"
    chart = inline(lines_chart(names, scores or values, label), "sweep", "Scores over encoders and blocks")
    return render(
        "sweep.html.j2",
        dataset=content["dataset"],
        sentences=list(sentences(content)),
        reading=reading(content),
        scores=make_table("Encoders", *score_table(content)),
        judged=make_table("Criteria", *judged_table(content)) if content["rows"] else None,
        chart=Markup(chart),  # our own SVG
        left_out=[f"{entry['row']}: {entry['reason']}" for entry in content["left_out"]],
    )
