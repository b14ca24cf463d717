"""How many clusters a set has: chart, table and sentence, as a page and as a part of a set's page.

Input: what `patchbank.criteria.k` wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from patchbank.files import read_json, write_text
from patchbank.report.page.charts import inline, lines_chart
from patchbank.report.page.render import render
from patchbank.report.page.tables import Table, make_table

SHOWN = {
    "halves": "stability over halves",
    "seeds": "stability over seeds",
    "silhouette": "silhouette",
    "used": "share of clusters used",
}
READING = (
    "No label was looked at. Stability is the adjusted Rand index of two fits on images that neither has seen: of two "
    "halves of the images, and of two k-means seeds. Higher is clearer, 1 is the most. Clusters that are found again "
    "need not be what you are looking for: take the suggestion as a start, look at the clusters, and set clustering.k."
)


@dataclass(frozen=True)
class KChart:
    """What is shown: the suggestion, how to read the chart, the chart (inline SVG) and its numbers."""

    sentence: str
    reading: str
    svg: Markup
    table: Table


def k_chart(path: Path) -> KChart:
    """The chart of a file of `patchbank.criteria.k`."""
    content = read_json(path)
    curve = content["curve"]
    lines = {title: [at[name] for at in curve] for name, title in SHOWN.items()}
    svg = inline(lines_chart([str(at["k"]) for at in curve], lines, "criterion"), "clusters", "Criteria over K")
    cells = [
        [str(at["k"]), *("–" if at[name] is None else f"{at[name]:.3f}" for name in SHOWN), f"{at['spread']:.3f}"]
        for at in curve
    ]
    header = ["K", *SHOWN.values(), "halves: scatter over cuts"]
    sentence = f"**Suggested: {content['sentence']}**"
    return KChart(sentence, READING, Markup(svg), make_table("Numbers of clusters", header, cells))  # our own SVG


def write_k_page(dataset: str, path: Path, out: Path) -> None:
    """Write the page of one set."""
    write_text(out, render("clusters.html.j2", dataset=dataset, clusters=k_chart(path)))
