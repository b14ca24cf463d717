"""Write `results/summary.{json,md}`: all datasets side by side, one row for each dataset, protocol and method.

Inputs: the `report.json` of every dataset that ran. Outputs: a dict with `datasets` (one entry each, with images,
number of classes, backbone and notes on the data), `rows` (the fields of `KEPT`, percent) and `left_out`, and the same
as Markdown.
Scores of different protocols never stand in one table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.files import read_json
from patchbank.report.markdown import DATA, READING, left_out_lines, table, without_empty
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

DATASETS = ("dataset", "training images", "evaluation images", "classes", "backbone", "block", "scores")


def build_summary(reports: Sequence[Path]) -> dict[str, Any]:
    """Build the dict of `summary.json`.

    Args:
        reports: `report.json` files, in any order.

    Returns:
        ``{"datasets": [...], "rows": [...], "left_out": [...]}``, sorted by dataset, rows as in the reports.

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
            "labelled": report.get("labelled", bool(report["rows"])),
            "data": report.get("data", []),  # a report of an older version has none
            "scored": bool(report["rows"]),
        }
        for report in loaded
    ]
    rows = [
        {"dataset": report["dataset"], "backbone": report["backbone"]["name"], **{name: row[name] for name in KEPT}}
        for report in loaded
        for row in report["rows"]
    ]
    # a report of an older version knows of nothing that was left out
    left_out = [{"dataset": report["dataset"], **entry} for report in loaded for entry in report.get("left_out", [])]
    return {"datasets": datasets, "rows": rows, "left_out": left_out}


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
    parts = ["# Summary", *_data_section(summary["datasets"]), _dataset_table(summary["datasets"])]
    if rows:
        parts += ["## Scores", READING]
    for protocol in sorted({row["protocol"] for row in rows}, key=order):
        meaning = [MEANING[protocol]] if protocol in MEANING else []
        parts += [f"### `{protocol}`", *meaning, table(*protocol_table(protocol, rows))]
    if summary["left_out"]:
        parts += ["## Left out", "\n".join(f"- {line}" for line in left_out_sentences(summary))]
    return "\n\n".join(parts) + "\n"


def left_out_sentences(summary: Mapping[str, Any]) -> list[str]:
    """What was left out of every dataset, its name in front."""
    names = dict.fromkeys(entry["dataset"] for entry in summary["left_out"])
    return [
        f"{name}: {line}"
        for name in names
        for line in left_out_lines([entry for entry in summary["left_out"] if entry["dataset"] == name])
    ]


def protocol_table(protocol: str, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of one protocol's rows of all datasets."""
    score = f"{score_name(protocol)} ± std (n)"
    header = ["dataset", "method", "variant", score, "accuracy", "segments", "K (used)", "seeds"]
    cells = [_cells(row) for row in rows if row["protocol"] == protocol]
    return without_empty([*header, "floor or ceiling", "preprocessing", "note"], cells)


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
        str(row["preprocessing"]),
        "fit: val" if row["fit"] == "val" else "",
    ]


def dataset_cells(entry: Mapping[str, Any]) -> list[str]:
    """Cells of one dataset under `DATASETS`."""
    nothing = "nothing to score" if entry["labelled"] else "no labels"
    return [
        str(entry["dataset"]),
        str(entry["images"]["train"]),
        str(entry["images"]["eval"]),
        str(entry["classes"]),
        str(entry["backbone"]),
        str(entry["block"]),
        "below" if entry["scored"] else f"{NOTHING} ({nothing})",
    ]


def data_notes(datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader must know of the sets before any score, each sentence behind its set's name."""
    return [f"{entry['dataset']}: {note}" for entry in datasets for note in entry["data"]]


def _data_section(datasets: Sequence[Mapping[str, Any]]) -> list[str]:
    found = data_notes(datasets)
    return [f"## {DATA}", "\n".join(f"- {note}" for note in found), "## Datasets"] if found else []


def _dataset_table(datasets: Sequence[Mapping[str, Any]]) -> str:
    lines = [dataset_cells(entry) for entry in datasets]
    return table(DATASETS, ([f"[{line[0]}]({line[0]}/report.md)", *line[1:]] for line in lines))
