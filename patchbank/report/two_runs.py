"""Two runs of one dataset side by side: what changed in the scores, in the classes, and in single images.

Inputs: two folders `results/<dataset>` as the pipeline leaves them (`report.json`, `manifest.json` and, for each
method, `scores.json`, counts and tables of segment clusters). Output: a dict of plain values, and the same as text.

| key | meaning |
|---|---|
| `dataset`, `a`, `b` | name of the set; folder, commit, configuration, backbone, evaluation images of each run |
| `scores` | rows that both runs have: `a`, `b` (percent), `difference` b - a, `low`, `high` of its interval, `oracle` |
| `classes` | for each method of both runs, IoU of each class under `hungarian`, largest change first |
| `images` | for each method of both runs, images of both by the change of their `matched` score, largest first |
| `only_a`, `only_b` | rows that the other run has not |
| `notes` | what a reader must know: other images, missing files, nothing to compare |

Rows belong together when method, protocol, variant, K, preprocessing and fit are the same; backbone and settings may
differ, they are what one compares. Intervals are those of `patchbank.evaluation.compare` (95 %, over images and
seeds), null with a note where the runs hold other images or lack the counts. Scores of images are those of the
gallery: one training and one k-means seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.evaluation.compare import Compared, compare_methods
from patchbank.evaluation.counts import CountsFile
from patchbank.evaluation.score import ScoreContext
from patchbank.oracle import splits
from patchbank.recognise import mistaken
from patchbank.report.content import Report
from patchbank.report.page.scores import ImageScores, stored_scores, tables_beside
from patchbank.report.protocols import HEADLINE
from patchbank.report.rows import Row, mean_of
from patchbank.report.text import NOTHING, method_text, percent, protocol_text

SAME = ("method", "protocol", "variant", "k", "preprocessing", "fit")
SHOWN = 10
"""Classes and images of a method that the text shows."""

SIDES = ("a", "b")
FILES = ("counts.npz", "clusters.npz", "counts-instance.npz")
"""What each training leaves of a method: counts, segment clusters, counts of instances."""


@dataclass(frozen=True)
class RunFolder:
    """A folder `results/<dataset>`, its report, and its rows by what makes them comparable."""

    folder: Path
    report: Report
    rows: Mapping[tuple[Any, ...], Row]

    @classmethod
    def load(cls, folder: Path) -> RunFolder:
        """Read the report of a run.

        Raises:
            UserError: the folder has no report.
        """
        path = folder / "report.json"
        if not path.is_file():
            raise mistaken(folder, "a finished run", "Runs are named by their folders, e.g. results/demo.")
        report = Report.load(path)
        return cls(folder, report, {tuple(_named(row).values()): row for row in report.rows})

    def methods(self) -> list[str]:
        """Methods with a row, in the order of the report."""
        return list(dict.fromkeys(row.method for row in self.rows.values()))


def compare_runs(first: Path, second: Path) -> dict[str, Any]:
    """Compare two runs.

    Args:
        first: folder of run A.
        second: folder of run B.

    Returns:
        See the module.

    Raises:
        UserError: a folder is no run, or the runs are of different datasets or classes.
    """
    a, b = RunFolder.load(first), RunFolder.load(second)
    for name in ("dataset", "classes"):
        of_a, of_b = (getattr(run.report, name) for run in (a, b))
        if of_a != of_b:
            raise UserError(
                f"{a.folder} and {b.folder} differ in {name} ({_short(of_a)} and {_short(of_b)}); "
                "only runs of one dataset can be compared."
            )
    shared = [key for key in a.rows if key in b.rows]
    methods = [method for method in a.methods() if method in b.methods()]
    notes: list[str] = [] if shared else [_nothing_shared(a, b)]
    intervals = {method: _intervals(method, a, b, notes) for method in methods}
    return {
        "dataset": a.report.dataset,
        "a": _facts(a),
        "b": _facts(b),
        "scores": [_score(a.rows[key], b.rows[key], intervals[a.rows[key].method]) for key in shared],
        "classes": {m: changes for m in methods if (changes := _classes(m, a, b))},
        "images": {m: changes for m in methods if (changes := _images(m, a, b, notes))},
        "only_a": [_named(row) for key, row in a.rows.items() if key not in b.rows],
        "only_b": [_named(row) for key, row in b.rows.items() if key not in a.rows],
        "notes": notes,
    }


def comparison_text(comparison: Mapping[str, Any]) -> str:
    """The dict of `compare_runs` for reading on a terminal; ends with a newline."""
    parts = [f"{comparison['dataset']}: B compared with A; scores are percent, differences are B - A"]
    for side in SIDES:
        facts = comparison[side]
        parts[0] += f"\n{side.upper()}: {facts['folder']} ({facts['backbone']}, configuration {facts['config']}"
        parts[0] += f", commit {facts['commit'][:12]})" if facts["commit"] else ")"
    if comparison["scores"]:
        lines = [
            [
                method_text(row["method"], row["oracle"]),
                _scored(row),
                *(percent(row[side]) for side in SIDES),
                _signed(row["difference"]),
                NOTHING if row["low"] is None else f"{row['low']:+.1f} to {row['high']:+.1f}",
            ]
            for row in comparison["scores"]
        ]
        parts.append(aligned(["method", "protocol", "A", "B", "B - A", "95 % interval"], lines))
    for title, key, name in (("Classes", "classes", "class"), ("Images", "images", "image")):
        for method, entries in comparison[key].items():
            lines = [
                [entry[name], *(percent(entry[side]) for side in SIDES), _signed(entry["difference"])]
                for entry in entries[:SHOWN]
            ]
            shown = f"the {len(lines)} of {len(entries)} that changed most"
            what = f"IoU under {HEADLINE}" if key == "classes" else "mIoU of the image in matched colours"
            parts.append(f"{title} of {method}, {what}: {shown}\n" + aligned([name, "A", "B", "B - A"], lines))
    for side in SIDES:
        if comparison[f"only_{side}"]:
            names = "; ".join(f"{row['method']} ({_scored(row)})" for row in comparison[f"only_{side}"])
            parts.append(f"Only in {side.upper()}: {names}")
    return "\n\n".join([*parts, *comparison["notes"]]) + "\n"


def aligned(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Columns of words (protocols and names) at the left, of numbers at the right, two blanks apart."""
    rows = [header, *lines]
    widths = [max(len(row[index]) for row in rows) for index in range(len(header))]
    words = [name in ("method", "protocol", "class", "image") for name in header]
    cells = (
        [text.ljust(width) if word else text.rjust(width) for text, width, word in zip(row, widths, words, strict=True)]
        for row in rows
    )
    return "\n".join("  ".join(row).rstrip() for row in cells)


def _nothing_shared(a: RunFolder, b: RunFolder) -> str:
    """Why no score can be compared."""
    without = [side.upper() for side, run in zip(SIDES, (a, b), strict=True) if not run.rows]
    if without:
        return f"Nothing to compare: {' and '.join(without)} {'have' if len(without) > 1 else 'has'} no scores."
    return f"Nothing to compare: no row of A stands in B (rows belong together by {', '.join(SAME)})."


def _facts(run: RunFolder) -> dict[str, Any]:
    origin = run.report.provenance
    return {
        "folder": str(run.folder),
        "backbone": run.report.backbone.name,
        "config": origin["config"],
        "commit": origin["git"]["commit"],
        "images": run.report.images["eval"],
    }


def _named(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SAME}


def _scored(row: Mapping[str, Any]) -> str:
    """Protocol, variant and K of a row of the comparison, for reading."""
    return protocol_text(row["protocol"], row["variant"], row["k"])


def _score(a: Row, b: Row, intervals: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> dict[str, Any]:
    bounds = intervals.get(a.key, {"low": None, "high": None})
    change = _change(mean_of(a.miou), mean_of(b.miou))
    return {**_named(a), "oracle": splits(a.oracle, b.oracle), **change, "low": bounds["low"], "high": bounds["high"]}


def _intervals(method: str, a: RunFolder, b: RunFolder, notes: list[str]) -> dict[tuple[Any, ...], Any]:
    """Intervals of B - A of one method, by protocol, variant and K; what stands in the way is noted."""
    try:
        pair = [_compared(run, method) for run in (b, a)]
        if len({CountsFile(next(iter(compared.counts.values()))).images for compared in pair}) > 1:
            raise UserError("the runs were scored on different images.")
        compared = compare_methods(pair)
    except UserError as error:
        notes.append(f"No intervals for {method}: {error}")
        return {}
    notes += [f"No intervals for {method}: {entry['reason']}" for entry in compared["left_out"]]
    return {(entry["protocol"], entry["variant"], entry["k"]): entry for entry in compared["comparisons"]}


def _compared(run: RunFolder, method: str) -> Compared:
    """A method's counts and tables as the compare stage takes them; floors are compared like any other row."""
    rows = [row for row in run.rows.values() if row.method == method]
    first = rows[0]
    folders = {seed: run.folder / method / f"seed{seed}" for seed in first.seeds.training}
    files = {name: {seed: folder / name for seed, folder in folders.items()} for name in FILES}
    files["clusters.npz"] = {seed: tables_beside(run.folder, method, seed) for seed in folders}
    counts, tables, instances = (
        {seed: path for seed, path in files[name].items() if path.is_file()} or None for name in FILES
    )
    if counts is None or len(counts) < len(folders):
        missing = next(path for path in files[FILES[0]].values() if not path.is_file())
        raise UserError(f"{missing} does not exist.")
    context = ScoreContext(
        dataset=run.report.dataset,
        method=method,
        kind="segments" if "segments" in CountsFile(next(iter(counts.values()))) else "classes",
        classes=run.report.classes,
        preprocessing=run.report.preprocessing,
        fit=first.fit,
        settings=first.settings,
        floor=False,
        ceiling=False,
        oracle=first.oracle,
        protocols=tuple(dict.fromkeys(row.protocol for row in rows)),
        k=next((row.k for row in rows if row.k is not None and row.protocol.startswith("hungarian")), 0),
    )
    return Compared(context, counts, tables, instances)


def _change(a: float | None, b: float | None) -> dict[str, float | None]:
    return {"a": a, "b": b, "difference": None if a is None or b is None else b - a}


def _classes(method: str, a: RunFolder, b: RunFolder) -> list[dict[str, Any]]:
    """Classes under the headline protocol, by the size of their change; empty where a run has no such row."""
    for key, row in a.rows.items():
        other = b.rows.get(key)
        if row.method == method and row.protocol == HEADLINE and row.per_class and other:
            pairs = zip(a.report.classes, row.per_class, other.per_class, strict=True)
            return _largest([{"class": name, **_change(x, y)} for name, x, y in pairs])
    return []


def _images(method: str, a: RunFolder, b: RunFolder, notes: list[str]) -> list[dict[str, Any]]:
    """Images that both runs score, by the size of their change; what stands in the way is noted."""
    scores: list[ImageScores] = []
    for run in (a, b):
        try:
            scored = stored_scores(run.folder, method)
        except UserError as error:
            notes.append(f"No images of {method}: {error}")
            return []
        if scored is None:
            return []
        scores.append(scored)
    names = {
        entry.id: entry.image
        for entries in Manifest.load(b.folder / "manifest.json").splits.values()
        for entry in entries
    }
    both = [image for image in scores[1].images if image in set(scores[0].images)]
    if len(both) < max(len(scored.images) for scored in scores):
        notes.append(
            f"{method}: {len(both)} images are in both runs ({len(scores[0].images)} in A, {len(scores[1].images)} in "
            "B); the scores above are of all images of each run."
        )
    changes = []
    for image in both:
        before, after = (scored.of(image).get("matched") for scored in scores)
        changes.append({"image": names.get(image, image), "id": image, **_change(before, after)})
    return _largest(changes)


def _largest(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sorted by the size of the change, equals in their order, those without a change last."""
    return sorted(changes, key=lambda entry: -abs(entry["difference"]) if entry["difference"] is not None else 1.0)


def _signed(value: float | None) -> str:
    return percent(None) if value is None else f"{value:+.1f}"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) < 60 else text[:57] + "..."
