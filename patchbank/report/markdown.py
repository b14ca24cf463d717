"""Write `report.md`, the report of one dataset for reading: headline, tables, classes, pictures, provenance.

Input: what `report.json` holds, and the pictures to embed. Output: Markdown (tables as GitHub reads them), one table
for each protocol with floors and ceilings in it, percent with one decimal.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.evaluation.preprocessing import VARIANTS
from patchbank.left_out import LeftOut
from patchbank.report.content import Report
from patchbank.report.notes import beats, floors_of
from patchbank.report.protocols import HEADLINE, MEANING, score_name
from patchbank.report.published import PublishedNumber
from patchbank.report.rows import Row, headline_classes, headline_rows, mean_of, score_of
from patchbank.report.text import (
    NOTHING,
    against,
    k_text,
    listing,
    mark,
    name_of,
    percent,
    protocol_text,
    score_text,
    seeds_text,
)

HEADER = (
    "method",
    "variant",
    "mIoU ± std (n)",
    "accuracy",
    "class accuracy",
    "things",
    "stuff",
    "segments",
    "K (used)",
    "seeds",
    "floor or ceiling",
    "note",
)
WORDS = (
    *("dataset", "method", "variant", "floor or ceiling", "note", "backbone", "scores", "value"),
    *("protocol", "preprocessing", "source"),
)
"""Headers of the columns that hold words."""

OPTIONAL = ("note", "variant", "accuracy", "class accuracy", "things", "stuff", "K (used)")
"""Headers of the columns that are left out where they hold nothing."""

READING = (
    "All scores are percent: mean ± standard deviation over n runs. Segments: mean number used in an image. Seeds: "
    "trainings × k-means runs. A floor needs no training of ours, a ceiling uses the labels; a method is worth what "
    "it adds to the floors."
)


DATA = "Notes on the data"
"""Title of what stands above all scores."""

CLASSES = (
    f"IoU of each class under `{HEADLINE}`, percent, mean over seeds; {NOTHING} where a class is absent and its "
    "cluster is empty."
)
ELSEWHERE = (
    "The same predictions compared at other pixels, mean ± standard deviation (n); clusters are matched anew at each, "
    "and `pamr` refines at the compared size. `full_boundary` is no paper's preprocessing but the pixels near a class "
    "boundary; elsewhere only size and resizing differ."
)
PUBLISHED = (
    "Numbers of papers under the same protocol, variant and K. Backbone and preprocessing are theirs; where they "
    "differ from those above, the numbers cannot be compared."
)


@dataclass(frozen=True)
class Figure:
    """A picture of the report: a title, a sentence on how to read it, and its file."""

    title: str
    caption: str
    path: Path


def report_markdown(report: Report, figures: Sequence[Figure] = (), folder: Path = Path()) -> str:
    """The text of `report.md`.

    Args:
        report: what `report.json` holds.
        figures: pictures to embed, in order.
        folder: folder that `report.md` will lie in; pictures are linked relative to it.

    Returns:
        Markdown that ends with a newline.
    """
    rows = report.rows
    parts = [f"# {report.dataset}", *_data_section(report.data), *headline(report), *setting(report)]
    if rows:
        parts += ["## Scores", READING]
        for protocol in report.protocols:
            meaning = [MEANING[protocol]] if protocol in MEANING else []
            parts += [f"### `{protocol}`", *meaning, table(*protocol_table(protocol, report))]
    parts += left_out_section(report.left_out)
    if report.elsewhere:
        parts += ["## Other preprocessing", ELSEWHERE, table(*elsewhere_table(report))]
    parts += _published_section(report.published)
    if rows and (notes := further_notes(report)):
        parts += ["## Notes", "\n".join(f"- {note}" for note in notes)]
    parts += _class_section(report.classes, rows)
    for figure in figures:
        link = Path(os.path.relpath(figure.path, folder)).as_posix().replace(" ", "%20")
        parts += [f"## {figure.title}", f"![{figure.title}]({link})", figure.caption]
    parts += _provenance(report)
    return "\n\n".join(parts) + "\n"


def further_notes(report: Report) -> list[str]:
    """The notes that do not stand above the scores."""
    return list(report.notes[len(report.data) :])


def _data_section(data: Sequence[str]) -> list[str]:
    """What a reader must know of the set before any score; nothing for a set without surprises."""
    return [f"## {DATA}", "\n".join(f"- {note}" for note in data), "## In short"] if data else []


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns of words are left-aligned, of numbers right-aligned; bars in cells are escaped."""
    rule = ["---" if name in WORDS or index == 0 else "--:" for index, name in enumerate(header)]
    rows = [header, rule, *lines]
    return "\n".join("| " + " | ".join(_cell(value) for value in row) + " |" for row in rows)


def score_cells(row: Row, note: str) -> list[str]:
    """Cells of one row under `HEADER`."""
    return [
        name_of(row),
        row.variant.replace("_", " "),
        score_text(row.miou),
        *(percent(mean_of(score)) for score in (row.accuracy, row.class_accuracy, row.things, row.stuff)),
        percent(row.segments),
        k_text(row),
        seeds_text(row),
        mark(row),
        note,
    ]


def strongest(row: Row, rows: Sequence[Row]) -> Row | None:
    """The floor with the highest mean beside a row, None where there is none."""
    floors = floors_of(row, rows)
    return max(floors, key=lambda floor: score_of(floor).mean) if floors else None


def headline(report: Report) -> list[str]:
    """What a reader should know first: each trained method's headline score beside the strongest floor."""
    rows = report.rows
    if not rows and report.labelled:
        return ["**No scores.** The set has labels, but no protocol found a pixel to score."]
    if not rows:
        return ["**No labels, no scores.** The set is unlabelled; what follows says how its predictions were made."]
    lines: list[str] = []
    for row in headline_rows(rows):
        ours = score_of(row)
        score = f"{score_text(ours).rsplit(' (', 1)[0]} {score_name(row.protocol, row.variant)}"
        # the score of `objects` is named by its variant
        where = protocol_text(*row.key) if score_name(row.protocol) == "mIoU" else row.protocol
        line = f"**{name_of(row)}: {score}** under `{where}`"
        line += f" (mean of {ours.n} runs)." if ours.n > 1 else " (one run)."
        floor = strongest(row, rows)
        if floor:
            word = "below its mean" if beats(row, floor) else "which it does not beat"
            line += f" Strongest floor: {floor.method}, {word}"
            line += f" ({against(ours.mean, score_of(floor).mean)})."
        lines.append(line)
    return lines or ["**No trained method ran**; the tables show floors and ceilings."]


def setting(report: Report) -> list[str]:
    """Images, features, split of the clusters and preprocessing, two sentences."""
    backbone, images = report.backbone, report.images
    height, width = backbone.input_size
    classes = f"{len(report.classes)} classes" if report.classes else "no classes"
    norm = f"{'with' if backbone.norm else 'without'} the final norm"
    text = (
        f"{images['train']} training and {images['eval']} evaluation images, {classes}. "
        f"Frozen features: `{backbone.name}` ({backbone.model}), output of block {backbone.block} {norm}, "
        f"input {width} × {height} pixels, {backbone.precision}."
    )
    if backbone.note:
        text += f" The weights: {backbone.note.rstrip('.')}."
    fit = f"Clusters are fitted on the images of `{report.fit}`"
    at = listing([f"`{name}`" for name in dict.fromkeys(row.preprocessing for row in report.rows)])
    return [text, f"{fit}; labels are compared at {at}." if at else f"{fit}."]


def protocol_table(protocol: str, report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and lines of one protocol's rows, in the report's order, without columns that are empty throughout."""
    header = [name.replace("mIoU", score_name(protocol)) for name in HEADER]
    lines = [score_cells(row, _row_note(row, report)) for row in report.rows if row.protocol == protocol]
    return without_empty(header, lines)


def without_empty(header: Sequence[str], lines: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """The same table without those columns of `OPTIONAL` that hold nothing."""
    filled = [
        index
        for index, name in enumerate(header)
        if name not in OPTIONAL or any(line[index] not in ("", NOTHING) for line in lines)
    ]
    return [header[index] for index in filled], [[line[index] for index in filled] for line in lines]


def _row_note(row: Row, report: Report) -> str:
    """A row's own note, and what differs from the report's preprocessing and fit."""
    notes = [row.note] if row.note else []
    if row.preprocessing != report.preprocessing:
        notes.append(f"preprocessing: {row.preprocessing}")
    if row.fit not in (None, "", report.fit):
        notes.append(f"fit: {row.fit}")
    if row.upsample == "bilinear" and not row.postprocess:
        notes.append("upsampled bilinearly")
    return "; ".join(notes)


def elsewhere_table(report: Report) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the rows that were scored at several preprocessing variants: one column for each."""
    rows = [*report.rows, *report.elsewhere]
    others = {row.preprocessing for row in report.elsewhere}
    names = [report.preprocessing, *(name for name in VARIANTS if name in others)]
    at: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        at.setdefault((row.method, protocol_text(*row.key)), {})[row.preprocessing] = row
    header = ["method", "protocol", *names, "segments", "K (used)", "floor or ceiling", "note"]
    lines = []
    for (_, where), by_name in at.items():
        if len(by_name) > 1:
            row = next(iter(by_name.values()))
            cells = (score_text(by_name[name].miou) if name in by_name else NOTHING for name in names)
            note = "; ".join(dict.fromkeys(one.note for one in by_name.values() if one.note))
            lines.append([name_of(row), where, *cells, percent(row.segments), k_text(row), mark(row), note])
    return without_empty(header, lines)


def published_table(published: Sequence[PublishedNumber]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the report's published numbers."""
    header = ["method", "protocol", "score", "accuracy", "backbone", "preprocessing", "note", "source"]
    return header, [
        [
            number.method,
            protocol_text(number.protocol, number.variant, number.k),
            percent(number.score),
            percent(number.accuracy),
            number.backbone,
            number.preprocessing,
            number.note,
            number.source,
        ]
        for number in published
    ]


def left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    """A sentence for every reason why rows could not be made, with all of them in front."""
    rows: dict[tuple[str, str], list[str]] = {}
    for entry in left_out:
        rows.setdefault((entry.at, entry.reason), []).append(entry.row)
    return [LeftOut(listing(names), at, reason).sentence for (at, reason), names in rows.items()]


def left_out_section(left_out: Sequence[LeftOut]) -> list[str]:
    """The section of those sentences; nothing where all rows are there."""
    return ["## Left out", "\n".join(f"- {line}" for line in left_out_lines(left_out))] if left_out else []


def _published_section(published: Sequence[PublishedNumber]) -> list[str]:
    return ["## Published numbers", PUBLISHED, table(*published_table(published))] if published else []


def class_table(classes: Sequence[str], rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header (`class`, then one column for each row of the headline protocol) and one line for each class."""
    chosen = headline_classes(rows)
    names = [name_of(row) for row in chosen]
    header = [
        "class",
        *(
            name if names.count(name) == 1 else f"{name}, {protocol_text(*row.key)}, K = {row.k}"
            for name, row in zip(names, chosen, strict=True)
        ),
    ]
    return header, [
        [f"{index} {name}", *(percent(row.per_class[index]) for row in chosen)] for index, name in enumerate(classes)
    ]


def _class_section(classes: Sequence[str], rows: Sequence[Row]) -> list[str]:
    header, lines = class_table(classes, rows)
    return ["## Classes", CLASSES, table(header, lines)] if len(header) > 1 else []


def provenance_lines(report: Report) -> list[list[str]]:
    """Pairs of a name and its value: code, configuration, weights, seeds, machine, library versions."""
    origin, backbone = report.provenance, report.backbone
    git, box = origin["git"], origin["machine"]
    commit = (
        f"`{git['commit']}`" + (" with uncommitted changes" if git["changed"] else "") if git["commit"] else "not known"
    )
    by_crf = any(row.postprocess == "crf" for row in report.rows)
    libraries = ("python", "torch", "timm", "numpy", "faiss", *(["pydensecrf2"] if by_crf else []))
    return [
        ["PatchBank", f"{origin['package']}, commit {commit}"],
        ["configuration", f"`{origin['config']}`"],
        ["weights (SHA-256)", f"`{backbone.weights_sha256}`"],
        *(
            [f"seeds, {kind}", ", ".join(map(str, values))]
            for kind, values in sorted(origin["seeds"].items())
            if values
        ),
        ["machine", f"{box['processor']}, {box['system']}, {box['threads']} threads"],
        *([name, box[name] or NOTHING] for name in libraries),
    ]


def settings_lines(report: Report) -> list[str]:
    """Settings of each method of the table, one line each, sorted."""
    return sorted({f"{row.method}: {_settings(row.settings)}" for row in report.rows if row.settings})


def _provenance(report: Report) -> list[str]:
    parts = ["## Provenance", table(["what", "value"], provenance_lines(report))]
    settings = settings_lines(report)
    return [*parts, "Settings:", "\n".join(f"- {line}" for line in settings)] if settings else parts


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(settings.items()))


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
