"""Write the page of one dataset and the pictures that it shows.

Inputs: `report.json`, and what the pictures are made from (manifest, predictions, counts, cluster tables, bank).
Outputs in the dataset's folder: `gallery/`, `clusters/`, `charts/` and, last, `index.html`; each appears as a whole.
The bytes depend on the inputs (and library versions) only; times come from the benchmark files of the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from patchbank.datasets.manifest import Manifest
from patchbank.drawing.layout import CLUSTERS, EXTRA
from patchbank.drawing.overlay import ALPHA, DIM, UNMATCHED, class_colours
from patchbank.files import atomic_folder, write_text
from patchbank.report.content import Report
from patchbank.report.curves import COLOURS
from patchbank.report.markdown import (
    CLASSES,
    DATA,
    ELSEWHERE,
    PUBLISHED,
    READING,
    further_notes,
    headline,
    left_out_lines,
    protocol_table,
    provenance_lines,
    setting,
    settings_lines,
)
from patchbank.report.named import name_columns
from patchbank.report.page import tables
from patchbank.report.page.charts import classes_chart, confusion_chart, inline, k_charts
from patchbank.report.page.clusters import k_chart
from patchbank.report.page.gallery import Gallery, draw_gallery
from patchbank.report.page.naming import clusterings, keep_names
from patchbank.report.page.render import render
from patchbank.report.page.scores import SCORES, ImageScores, image_scores
from patchbank.report.page.sheets import CROPS, draw_sheets
from patchbank.report.page.times import stage_times
from patchbank.report.panel import PanelColumn
from patchbank.report.protocols import HEADLINE
from patchbank.report.rows import headline_classes
from patchbank.report.write import CURVES
from patchbank.report.write import PICTURES as WAYS

GROUPS = {
    "sample": "A sample, chosen without looking at any score",
    "best": "Highest scores",
    "worst": "Lowest scores",
}
SECTIONS = {
    "gallery": "Gallery",
    "sheets": "Clusters",
    "how_many": "How many clusters",
    "scores": "Scores",
    "left_out": "Left out",
    "elsewhere": "Other preprocessing",
    "comparisons": "Paired differences",
    "published": "Published numbers",
    "notes": "Notes",
    "classes": "Classes",
    "confusions": "Confusion matrices",
    "k_curves": "Score over K",
    "ways": "On the way to a prediction",
    "curves": "Training curves",
    "provenance": "Provenance",
}
ANCHORS = {"confusions": "confusion", "k_curves": "k", "sheets": "clusters"}
"""Ids of the sections that differ from the names above."""

NOTES = 8
"""Notes that are shown at once; further ones unfold."""
LINES = 12
"""Lines of a table of differences, or of further preprocessing, from which on it is folded."""
STRIP = 8
"""Pictures at the top of a page."""

CONFUSION = (
    f"Each line is a true class and adds up to 100 percent; each column is the class that `{HEADLINE}` matches a "
    "cluster to, in the same order, so the diagonal is right and everything beside it is wrong. One training and one "
    "k-means seed, the one that the pictures show."
)
SHEETS = (
    f"{CROPS} typical crops of every cluster, one an image: the regions whose mean frozen feature is nearest to that "
    "of all regions of the cluster. No label was looked at. The region is in colour, what surrounds it is grey."
)
PICTURES = (
    "Evaluation images; colours and numbers are those of the legend. `pca` shows what the encoder sees before any "
    "method does: the three main directions of its patch features as red, green and blue, the same in all pictures."
)
MATCHED = (
    "A cluster has the colour of the class that `hungarian` matches it to over the whole set. Under each picture "
    "stands the mean IoU over the classes present in this image alone: `matched` for the colours that you see, and "
    "`per_image` where each segment may choose its class in this image. Both are of one training and one k-means seed."
)


@dataclass(frozen=True)
class PageSource:
    """What a page is made from.

    Attributes:
        report: `report.json`.
        manifest: `manifest.json`.
        columns: methods of the gallery, in order.
        counts: counts file of each column's training.
        bank: the evaluation split's `whole` bank (folder or pointer).
        statistics: of the train tokens.
        curves: `<method>/curves.png` of the trained methods, in the dataset's folder.
        ways: `<method>/pictures.png` of the methods that draw what they make on their way, likewise.
        benchmarks: folder with Snakemake's benchmark files of the set.
        pictures: images of the gallery.
        clusters: file of `patchbank.criteria.k` that the number of clusters rests on; None where it was given.
        names: `names.yaml` of the set, None for none.
    """

    report: Path
    manifest: Path
    columns: Sequence[PanelColumn]
    counts: Sequence[Path]
    bank: Path
    statistics: Path
    curves: Sequence[Path]
    ways: Sequence[Path]
    benchmarks: Path
    pictures: int
    clusters: Path | None = None
    names: Path | None = None


def write_page(source: PageSource, folder: Path) -> None:
    """Write `index.html` and the folders beside it.

    Args:
        source: what the page is made from.
        folder: the dataset's folder, `results/<dataset>`.

    Raises:
        UserError: an input is missing, or does not fit the others.
    """
    report, manifest = Report.load(source.report), Manifest.load(source.manifest)
    scored = {c.title: image_scores(c, path) for c, path in zip(source.columns, source.counts, strict=True)}
    scores = {title: values for title, values in scored.items() if values is not None}
    manifest, columns = name_columns(manifest, source.columns, source.names)
    with atomic_folder(folder / "gallery") as new_folder:
        gallery = draw_gallery(manifest, columns, scores, source.pictures, new_folder, source.bank)
    with atomic_folder(folder / "clusters") as new_folder:
        sheets = draw_sheets(manifest, columns, source.bank, source.statistics, new_folder)
    charts = _charts(report, scores)
    with atomic_folder(folder / "charts") as new_folder:
        for name, (_, svg) in charts.items():
            (new_folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    values: dict[str, Any] = {
        **_words(report),
        "notes_open": NOTES,
        "lines_open": LINES,
        "strip": [shot for shots in gallery.groups.values() for shot in shots][:STRIP],
        "gallery": gallery,
        "gallery_caption": _gallery_caption(gallery),
        "group_titles": _group_titles(gallery),
        "first_shown": _first_shown(gallery, columns),
        "labelled": manifest.labelled,
        "legend": _legend(gallery, manifest),
        "score_names": [name for name in SCORES if any(name in scored.scores for scored in scores.values())],
        "unnamed": CLUSTERS,
        "confusions": _inlined(charts, "confusion."),
        "confusion_caption": CONFUSION,
        "k_curves": _inlined(charts, "k."),
        "classes_chart": "charts/classes.svg",
        "classes_left_out": max(0, len(headline_classes(report.rows)) - len(COLOURS)),
        "sheets": {method: made for method, made in sheets.items() if made},
        "sheets_caption": SHEETS,
        "sheet_names": manifest.classes,
        "categories": tables.categories_table(sheets, manifest.classes) if source.names else None,
        "clusterings": clusterings(columns),
        "how_many": None if source.clusters is None else k_chart(source.clusters),
        "ways": {path.parent.name: path.relative_to(folder).as_posix() for path in source.ways},
        "ways_caption": WAYS,
        "curves": {path.parent.name: path.relative_to(folder).as_posix() for path in source.curves},
        "curves_caption": CURVES,
        "times": _times(source.benchmarks),
    }
    shown = {**values, "scores": values["protocols"], "gallery": gallery.groups}
    sections = [{"id": ANCHORS.get(name, name), "title": title} for name, title in SECTIONS.items() if shown[name]]
    keep_names(folder, source.names, values["clusterings"])
    write_text(folder / "index.html", render("dataset.html.j2", report=report, sections=sections, **values))


def _words(report: Report) -> dict[str, Any]:
    """What the page says and tabulates from the report alone."""
    return {
        "data_title": DATA,
        "headline": headline(report),
        "matrix": tables.matrix(report),
        "notes": further_notes(report),
        "setting": setting(report),
        "reading": READING,
        "protocols": tables.protocol_tables(
            report.protocols, lambda name: tables.scores_table(name, *protocol_table(name, report))
        ),
        "left_out": left_out_lines(report.left_out),
        "elsewhere": tables.elsewhere_scores(report),
        "elsewhere_caption": ELSEWHERE,
        "comparisons": tables.comparisons_table(report),
        "published": tables.published_numbers(report),
        "published_caption": PUBLISHED,
        "classes": tables.classes_table(report),
        "classes_caption": CLASSES,
        "provenance": provenance_lines(report),
        "settings": settings_lines(report),
    }


def _charts(report: Report, scores: Mapping[str, ImageScores]) -> dict[str, tuple[str, str]]:
    """(title, SVG) by file name without its suffix."""
    rows = headline_classes(report.rows)
    # the pictures' methods first, then what else there is
    rows.sort(key=lambda row: row.method not in scores)
    charts = {"classes": ("classes", classes_chart(report.classes, rows))} if rows else {}
    for method, scored in scores.items():
        charts[f"confusion.{method}"] = (method, confusion_chart(scored.confusion, report.classes))
    for title, svg in k_charts(report.rows).items():
        charts[f"k.{re.sub('[^a-z0-9]+', '-', title.lower())}"] = (title, svg)
    return charts


def _inlined(charts: Mapping[str, tuple[str, str]], prefix: str) -> list[dict[str, Any]]:
    kind = {"confusion.": "Confusion matrix", "k.": "Score over the number of clusters"}[prefix]
    return [
        {"title": title, "svg": Markup(inline(svg, name.replace(".", "-"), f"{kind}: {title}"))}  # our own SVG
        for name, (title, svg) in charts.items()
        if name.startswith(prefix)
    ]


def _gallery_caption(gallery: Gallery) -> str:
    return f"{PICTURES} {MATCHED}" if gallery.ranked_by else PICTURES


def _group_titles(gallery: Gallery) -> dict[str, str]:
    if gallery.ranked_by is None:
        return GROUPS
    method, score = gallery.ranked_by
    return {name: title if name == "sample" else f"{title} of {method} ({score})" for name, title in GROUPS.items()}


def _first_shown(gallery: Gallery, columns: Sequence[PanelColumn]) -> str:
    """What the gallery shows at first: the ranked method, else the first one."""
    return gallery.ranked_by[0] if gallery.ranked_by else next((column.title for column in columns), "")


def _legend(gallery: Gallery, manifest: Manifest) -> list[dict[str, str]]:
    """Classes and special patches of the pictures, in the colours that an overlay on mid-grey has."""
    colours = class_colours(manifest.colours, len(manifest.classes))
    entries = []
    for value in gallery.classes:
        if value < 0:
            hatch = "none" if value == UNMATCHED else "ignored"
            entries.append({"colour": "", "hatch": hatch, "text": EXTRA[value]})
        else:
            mixed = [round(ALPHA * int(part) + (1 - ALPHA) * DIM * 140) for part in colours[value]]
            text = f"{value} {manifest.classes[value]}"
            entries.append({"colour": f"rgb({mixed[0]}, {mixed[1]}, {mixed[2]})", "hatch": "", "text": text})
    return entries


def _times(folder: Path) -> tables.Table | None:
    times = stage_times(folder)
    lines = [
        [
            time.rule,
            str(time.jobs),
            f"{time.seconds:.1f}",
            "–" if time.megabytes is None else f"{time.megabytes:.0f}",
        ]
        for time in times
    ]
    header = ["stage", "jobs", "seconds", "peak memory (MB)"]
    return tables.make_table("Times of the stages", header, lines) if lines else None
