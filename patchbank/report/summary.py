"""Write `results/summary.{json,md}`: all datasets side by side, one row for each dataset, protocol and method.

Inputs: the `report.json` of every dataset that ran. Outputs: a dict with `datasets` (one entry each, with images,
number of classes and backbone) and `rows` (the fields of `KEPT`, percent), and the same as Markdown. Scores of
different protocols never stand in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.files import read_json
from patchbank.report.markdown import READING, table
from patchbank.report.protocols import MEANING, order, score_name
from patchbank.report.rows import mean_of
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


def build_summary(reports: Sequence[Path]) -> dict[str, Any]:
    """Build the dict of `summary.json`.

    Args:
        reports: `report.json` files, in any order.

    Returns:
        ``{"datasets": [...], "rows": [...]}``, sorted by dataset, rows as in the reports.

    Raises:
        UserError: a report is missing or is not JSON.
    """
    loaded = sorted((read_json(path) for path in reports), key=lambda report: str(report["dataset"]))
    datasets = [
        {
            "dataset": report["dataset"],
            "images": report["images"],
            "classes": len(report["classes"]),
            "backbone": report["backbone"]["name"],
            "block": report["backbone"]["block"],
            "labelled": bool(report["rows"]),
        }
        for report in loaded
    ]
    rows = [
        {"dataset": report["dataset"], "backbone": report["backbone"]["name"], **{name: row[name] for name in KEPT}}
        for report in loaded
        for row in report["rows"]
    ]
    return {"datasets": datasets, "rows": rows}


def summary_markdown(summary: Mapping[str, Any]) -> str:
    """The text of `summary.md`; it links each `<dataset>/report.md` beside it.

    Args:
        summary: dict of `build_summary`.

    Returns:
        Markdown that ends with a newline.
    """
    if not summary["datasets"]:
        return "# Summary\n\nNo dataset is enabled, so there is nothing to show.\n"
    rows = summary["rows"]
    parts = ["# Summary", _dataset_table(summary["datasets"])]
    if rows:
        parts += ["## Scores", READING]
    for protocol in sorted({row["protocol"] for row in rows}, key=order):
        chosen = [row for row in rows if row["protocol"] == protocol]
        score = f"{score_name(protocol)} ± std (n)"
        header = ["dataset", "method", "variant", score, "accuracy", "segments", "K (used)", "seeds"]
        header.append("floor or ceiling")
        parts += [f"### `{protocol}`", *([MEANING[protocol]] if protocol in MEANING else [])]
        parts.append(table(header, map(_cells, chosen)))
    return "\n\n".join(parts) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["dataset"]),
        name_of(row),
        str(row["variant"]).replace("_", " "),
        score_text(row["miou"]),
        percent(mean_of(row["accuracy"])),
        percent(row["segments"]),
        k_text(row),
        seeds_text(row),
        mark(row),
    ]


def _dataset_table(datasets: Sequence[Mapping[str, Any]]) -> str:
    header = ["dataset", "training images", "evaluation images", "classes", "backbone", "block", "scores"]
    lines = [
        [
            f"[{entry['dataset']}]({entry['dataset']}/report.md)",
            str(entry["images"]["train"]),
            str(entry["images"]["eval"]),
            str(entry["classes"]),
            str(entry["backbone"]),
            str(entry["block"]),
            "below" if entry["labelled"] else f"{NOTHING} (no labels)",
        ]
        for entry in datasets
    ]
    return table(header, lines)
