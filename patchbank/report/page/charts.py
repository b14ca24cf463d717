"""Charts of a page as SVG: classes side by side, confusion matrices in matched order, and scores over K.

Inputs: rows of `report.json` and the confusion matrices of `patchbank.report.page.scores`. Outputs: SVG text whose
bytes depend on the numbers (and matplotlib's version) only. Text stays text, and what matplotlib draws in the ink of
the page becomes `currentColor`, so that a chart that stands inside a page is light or dark with it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from patchbank.report.curves import COLOURS, STYLES
from patchbank.report.protocols import HEADLINE, order, variant_order
from patchbank.report.rows import Row, Spread
from patchbank.report.text import name_of, protocol_text

INK = "#010203"
"""Stands for the page's text colour until the SVG is written; no palette has it."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "////", "||||", "xxxx", "\\\\\\\\", "----", "++++")
NUMBERED = 30
"""Confusion matrices of at most this many classes have numbers in their cells."""

FAINT = 0.5
"""Percent below which a cell of the confusion matrix stays without a number."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "patchbank",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
}


def confusion_chart(confusion: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A confusion matrix as SVG; every row (true class) adds up to 100 percent.

    Args:
        confusion: (C, C + 1) pixels, see `patchbank.report.page.scores.ImageScores`.
        classes: C names.

    Returns:
        SVG text. The last column (clusters matched to no class) is left out where it is empty.
    """
    shown = confusion if confusion[:, -1].any() else confusion[:, :-1]
    names = [f"{index} {name}" for index, name in enumerate(classes)]
    share = 100 * shown / np.maximum(confusion.sum(1, keepdims=True), 1)
    labels = [str(index) for index in range(len(classes))] + ["none"] * (shown.shape[1] - len(classes))
    side = 0.3
    longest = max(map(len, names))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(1.6 + 0.085 * longest + side * len(labels), 1.3 + side * len(classes)))
        axis = figure.add_subplot()
        picture = axis.imshow(share, cmap="cividis", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
        axis.set_xticks(range(len(labels)), labels, rotation=90 if len(labels) > NUMBERED else 0)
        axis.set_yticks(range(len(names)), names, parse_math=False)
        axis.set_xlabel("class that the cluster is matched to")
        axis.set_ylabel("true class")
        for row, column in np.argwhere(share >= FAINT) if len(classes) <= NUMBERED else ():
            # cividis is dark below half
            colour = "white" if share[row, column] < 55 else "black"
            axis.text(column, row, f"{share[row, column]:.0f}", color=colour, ha="center", va="center", fontsize=8)
        bar = figure.colorbar(picture, ax=axis, fraction=0.035, pad=0.02)
        bar.set_label("percent of the true class's pixels")
        bar.outline.set_edgecolor(INK)
        return _svg(figure)


def classes_chart(classes: Sequence[str], rows: Sequence[Row]) -> str:
    """IoU of each class under the headline protocol as bars, one colour and hatch for each row (at most seven)."""
    shown = rows[: len(COLOURS)]
    step = 0.8 / len(shown)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 1.2 + 0.2 * (len(shown) + 1) * len(classes)))
        axis = figure.add_subplot()
        for index, row in enumerate(shown):
            heights = np.arange(len(classes)) - 0.4 + step * (index + 0.5)
            values = np.array([value or 0.0 for value in row.per_class])
            axis.barh(
                heights,
                values,
                step,
                color=COLOURS[index],
                edgecolor="white",
                linewidth=0.4,
                hatch=HATCHES[index],
                label=name_of(row),
            )
            for y, value in zip(heights, row.per_class, strict=True):
                if value is not None:
                    axis.text(value + 0.8, y, f"{value:.0f}", va="center", fontsize=7)
        names = [f"{index} {name}" for index, name in enumerate(classes)]
        axis.set_yticks(range(len(classes)), names, parse_math=False)
        axis.set_xlim(0, 100)
        axis.set_ylim(len(classes) - 0.5, -0.5)
        axis.set_xlabel(f"IoU under {HEADLINE}, percent")
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
        _clean(axis, grid="x")
        return _svg(figure)


def k_charts(rows: Sequence[Row]) -> dict[str, str]:
    """Score over the number of clusters, one chart for each protocol and variant with several K.

    Returns:
        SVG text by the name of the protocol and variant, in the order of the tables.
    """
    charts: dict[tuple[str, str], dict[str, dict[int, Spread]]] = {}
    for row in rows:
        if row.k is not None and row.miou is not None:
            lines = charts.setdefault((row.protocol, row.variant), {})
            lines.setdefault(name_of(row), {})[row.k] = row.miou
    return {
        protocol_text(protocol, variant, None): _k_chart(lines)
        for (protocol, variant), lines in sorted(charts.items(), key=lambda item: _protocol_order(*item[0]))
        if len({k for line in lines.values() for k in line}) > 1
    }


def _protocol_order(protocol: str, variant: str) -> tuple[tuple[int, str], tuple[int, str]]:
    return order(protocol), variant_order(variant)


def _k_chart(lines: Mapping[str, Mapping[int, Spread]]) -> str:
    """One line for each method: its score at every K."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(5.4, 3.4))
        axis = figure.add_subplot()
        for index, (method, line) in enumerate(lines.items()):
            asked = sorted(line)
            axis.errorbar(
                asked,
                [line[k].mean for k in asked],
                [line[k].std or 0.0 for k in asked],
                color=COLOURS[index % len(COLOURS)] if index % len(COLOURS) != 6 else INK,
                linestyle=STYLES[index % len(STYLES)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                capsize=3,
                linewidth=1.5,
                label=method,
            )
        axis.set_xlabel("K, number of clusters asked for")
        axis.set_ylabel("mIoU, percent")
        axis.set_ylim(bottom=0)
        axis.set_xticks(sorted({k for line in lines.values() for k in line}))
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)
        _clean(axis, grid="both")
        return _svg(figure)


def lines_chart(names: Sequence[str], lines: Mapping[str, Sequence[float | None]], label: str) -> str:
    """One line for each of several series over the same named places, as SVG.

    Args:
        names: of the places, from left to right.
        lines: name of a series -> its value at each place, None where it has none.
        label: of the values.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(2.5 + 0.55 * len(names), 3.6))
        axis = figure.add_subplot()
        for index, (name, values) in enumerate(lines.items()):
            axis.plot(
                range(len(names)),
                [np.nan if value is None else value for value in values],
                color=COLOURS[index % len(COLOURS)] if index % len(COLOURS) != 6 else INK,
                linestyle=STYLES[index % len(STYLES)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                linewidth=1.5,
                label=name,
            )
        axis.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
        axis.set_ylabel(label)
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=9)
        _clean(axis, grid="both")
        return _svg(figure)


def _clean(axis: Any, grid: str) -> None:
    axis.set_axisbelow(True)
    axis.grid(axis=grid, color="#888888", alpha=0.35, linewidth=0.6)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _svg(figure: Figure) -> str:
    FigureCanvasSVG(figure)
    written = io.StringIO()
    nothing: Mapping[str, None] = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, bbox_inches="tight", metadata=nothing)
    text = written.getvalue()
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.S)
    return text[text.index("<svg") :].replace(INK, "currentColor")


def inline(svg: str, name: str, description: str) -> str:
    """An SVG for the inside of a page: ids of its own, and a label for those who cannot see it.

    Args:
        svg: text of a chart.
        name: a word of letters, digits and dashes that no other chart of the page has.
        description: what the chart shows; escaped here.
    """
    from markupsafe import escape

    text = re.sub(r'\bid="', f'id="{name}-', svg)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1)
