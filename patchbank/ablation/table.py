"""The table of an ablation: every row beside the default and beside the floors at the number of segments that it uses.

Inputs: the JSON files and folders of `patchbank.ablation.run`. Outputs: one JSON file (`rows`, `comparisons`,
`left_out`) and one Markdown page a set of tables. An interval is that of `patchbank.evaluation.compare`, over images
and seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patchbank.evaluation.compare import Compared, compare_methods
from patchbank.evaluation.score import Scoring, context_of
from patchbank.files import read_json, write_json, write_text
from patchbank.left_out import LeftOut, left_out_at
from patchbank.methods import contract
from patchbank.methods.contract import Method, oracle_of
from patchbank.progress import track

COLUMNS = ("per_image", "hungarian", "overcluster")


@dataclass(frozen=True)
class TableRow:
    """One row of one set.

    Attributes:
        method: the row.
        factor: what it changes; empty for a floor.
        result: JSON file of the row.
        folder: its counts and clusters.
    """

    method: Method
    factor: str
    result: Path
    folder: Path


def floors_at(used: Sequence[float], floors: Sequence[str]) -> list[str]:
    """Names of the floors, those at a number of segments at each that rows use, rounded up and at least 2."""
    counts, known = sorted({_rounded(value) for value in used}), contract.rows()
    return [
        name
        for floor in floors
        for name in ([f"{floor}-{count}" for count in counts] if known[floor].traits.at_counts else [floor])
    ]


def _rounded(used: float) -> int:
    return max(2, math.ceil(used))


def write_table(
    sets: Mapping[str, Sequence[TableRow]],
    classes: Mapping[str, Sequence[str]],
    scoring: Mapping[str, Scoring],
    base: str,
    out_json: Path,
    out_markdown: Path,
) -> None:
    """Compare all rows and write both files.

    Args:
        sets: rows of each set, the floors among them.
        classes: class names of each set.
        scoring: what the rows of each set are scored by.
        base: name of the row that the others are compared with.
        out_json, out_markdown: files to write.
    """
    content = {name: _compared(rows, classes[name], scoring[name], base) for name, rows in sets.items()}
    write_json(out_json, content)
    write_text(out_markdown, "\n".join(_page(content, base)) + "\n")


def _compared(every: Sequence[TableRow], classes: Sequence[str], scoring: Scoring, base: str) -> dict[str, Any]:
    left_out = [entry for row in every if (entry := left_out_at(row.result)) is not None]
    rows = [row for row in every if left_out_at(row.result) is None]
    results = {row.method.name: read_json(row.result) for row in rows}
    by_name = {row.method.name: row for row in rows}
    listed, differences = [], []
    for name in track(list(by_name), "compare", "row"):
        row, result = by_name[name], results[name]
        floor = "" if row.method.traits.floor else _floor_beside(rows, _rounded(result["used"]))
        oracle = oracle_of(row.method)
        listed.append({"name": name, "factor": row.factor, "floor_at": floor, "oracle": oracle, **result})
        others = [other for other in dict.fromkeys((base, floor)) if other in by_name and other != name]
        if row.factor:
            pairs = [_as_compared(by_name[other], classes, scoring) for other in (name, *others)]
            compared = compare_methods(pairs)
            differences += [one for one in compared["comparisons"] if one["a"] == name]
            left_out += [LeftOut(**entry) for entry in compared["left_out"]]
    return {"rows": listed, "comparisons": differences, "left_out": [asdict(entry) for entry in sorted(set(left_out))]}


def _floor_beside(rows: Sequence[TableRow], segments: int) -> str:
    """The floor that sees the same tokens at that number of segments; empty where there is none."""
    methods = [row.method for row in rows]
    return next((str(m.name) for m in methods if m.traits.sees_tokens and m.at == segments), "")


def _as_compared(row: TableRow, classes: Sequence[str], scoring: Scoring) -> Compared:
    seeds = row.method.seeds
    counts = {seed: row.folder / f"seed{seed}" / "counts.npz" for seed in seeds}
    clusters = {seed: row.folder / f"seed{seed}" / "clusters.npz" for seed in seeds}
    segmented = row.method.traits.kind == "segments"
    return Compared(context_of(row.method, classes, scoring), counts, clusters if segmented else None)


def _page(content: Mapping[str, Any], base: str) -> Iterator[str]:
    yield "# Ablation"
    yield ""
    yield (
        f"mIoU in percent, mean ± standard deviation over trainings x k-means seeds. Below a score: its difference to "
        f"`{base}` with the 95 % interval over images and seeds, **bold** where that excludes 0. Floor: the one "
        "that sees the same tokens at the number of segments that the row uses, rounded up. Stability: agreement "
        "(adjusted Rand index) of the clusters of two k-means seeds, which needs no label."
    )
    for name, table in content.items():
        yield ""
        yield f"## {name}"
        yield ""
        heads = ("factor", "row", *COLUMNS, "segments", "stability", "training s", "bank GB", "floor", *COLUMNS)
        yield "| " + " | ".join(heads) + " |"
        yield "| --- | --- |" + " --: |" * 7 + " --- |" + " --: |" * 3
        by_name = {row["name"]: row for row in table["rows"]}
        for row in table["rows"]:
            if row["factor"]:
                yield _line(row, by_name.get(row["floor_at"]), table["comparisons"], base)
        yield ""
        yield "Floors:"
        yield ""
        yield "| row | " + " | ".join(COLUMNS) + " | segments | stability |"
        yield "| --- |" + " --: |" * 5
        for row in table["rows"]:
            if not row["factor"]:
                cells = [_name(row), *(_score(row, protocol) for protocol in COLUMNS)]
                yield f"| {' | '.join(cells)} | {row['used']:.1f} | {_number(row['stability'], 2)} |"
        if table["left_out"]:
            yield ""
            yield "Left out:"
            yield ""
            yield from (f"- {LeftOut(**entry).sentence}" for entry in table["left_out"])


def _line(row: Mapping[str, Any], floor: Mapping[str, Any] | None, comparisons: Sequence[Any], base: str) -> str:
    cells = [row["factor"], _name(row, "`")]
    for protocol in COLUMNS:
        cells.append(_score(row, protocol) + _difference(row["name"], base, protocol, comparisons, "<br>"))
    cells += [f"{row['used']:.1f}", _number(row["stability"], 2), _number(row["train_seconds"], 0)]
    cells.append(f"{row['bank_bytes'] / 1e9:.2f}")
    cells.append("" if floor is None else f"`{floor['name']}`")
    for protocol in COLUMNS:
        beside = "" if floor is None else _score(floor, protocol)
        cells.append(beside + _difference(row["name"], row["floor_at"], protocol, comparisons, "<br>row - floor "))
    return f"| {' | '.join(cells)} |"


def _name(row: Mapping[str, Any], quote: str = "") -> str:
    return f"{quote}{row['name']}{quote}" + (f" (oracle: {row['oracle']})" if row["oracle"] else "")


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _score(row: Mapping[str, Any], protocol: str) -> str:
    """The row's score under a protocol, its first variant (mIoU, precision)."""
    score = next((one["miou"] for one in row["rows"] if one["protocol"] == protocol), None)
    if score is None:
        return ""
    return f"{score['mean']:.1f}" + ("" if score["std"] is None else f" ± {score['std']:.1f}")


def _difference(a: str, b: str, protocol: str, comparisons: Sequence[Mapping[str, Any]], before: str) -> str:
    comparison = next((c for c in comparisons if (c["a"], c["b"], c["protocol"]) == (a, b, protocol)), None)
    if comparison is None:
        return ""
    text = f"{comparison['difference']:+.1f} ({comparison['low']:+.1f} to {comparison['high']:+.1f})"
    return f"{before}**{text}**" if comparison["low"] > 0 or comparison["high"] < 0 else f"{before}{text}"
