"""Lay pictures out as a grid with titles, captions, numbers on regions and a legend, and write one PNG.

Everything is placed at whole pixels and pictures are never resampled, so what a cell holds is what the file shows.
Text is matplotlib's own font. The file says that patchbank drew it, and carries no date and no
version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from patchbank.drawing.mark import marks
from patchbank.drawing.overlay import IGNORED, UNMATCHED, Labels, number_positions, swatch
from patchbank.files import atomic_path

DPI = 100
MARGIN = 24
GAP = 12
TITLE = 34
CAPTION = 28
SWATCH = (20, 34)
"""Height and width of a legend's patch; all sizes in pixels."""

LINE = 30
"""Height of a legend's line."""

CHARACTER = 9
"""Width that the legend reserves for a character."""

EXTRA = {UNMATCHED: "no class (the cluster is matched to none)", IGNORED: "not scored (ignored in the truth)"}

CLUSTERS = "Where no score stands, colours and numbers tell the clusters of a method apart; they name no class."


@dataclass(frozen=True)
class Cell:
    """One picture: pixels uint8 (h, w, 3), the line below it, and the label map (h, w) that it shows.

    `named` says that the labels are classes of the legend (and not clusters without a name).
    """

    pixels: NDArray[np.uint8]
    caption: str = ""
    labels: Labels | None = None
    named: bool = True


@dataclass(frozen=True)
class Grid:
    """A panel: column titles, rows of cells, width of a column in pixels, class names and their colours."""

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    width: int
    classes: Sequence[str]
    colours: NDArray[np.uint8]


def draw_grid(grid: Grid, out: Path, source: str | None = None) -> None:
    """Write the panel as PNG, atomically; `source` is noted in it (`patchbank.drawing.mark`)."""
    width = 2 * MARGIN + len(grid.titles) * (grid.width + GAP) - GAP
    heights = [max(cell.pixels.shape[0] for cell in row) for row in grid.rows]
    legend = _legend_rows(legend_entries(grid), width)
    height = (
        2 * MARGIN + TITLE + sum(heights) + CAPTION * len(heights) + GAP + LINE * (len(legend) + _has_clusters(grid))
    )
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    page = _Page(figure, width, height)
    for index, title in enumerate(grid.titles):
        page.text(MARGIN + index * (grid.width + GAP) + grid.width / 2, MARGIN + TITLE / 2, title, 13, bold=True)
    top = MARGIN + TITLE
    for row, row_height in zip(grid.rows, heights, strict=True):
        for index, cell in enumerate(row):
            left = MARGIN + index * (grid.width + GAP)
            _draw_cell(page, cell, left + (grid.width - cell.pixels.shape[1]) // 2, top, left + grid.width / 2)
        top += row_height + CAPTION
    _draw_legend(page, legend, grid, top + GAP)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI, metadata=marks(source))


def legend_entries(grid: Grid) -> list[tuple[int, str]]:
    """(id, text) of the classes that occur in the panel, by id, then of ignored and unmatched pixels."""
    values: set[int] = set()
    for row in grid.rows:
        for cell in row:
            if cell.labels is not None and cell.named:
                values.update(int(value) for value in np.unique(cell.labels))
    entries = [(value, f"{value} {grid.classes[value]}") for value in sorted(values) if value >= 0]
    return entries + [(code, text) for code, text in EXTRA.items() if code in values]


class _Page:
    """A figure addressed in pixels from the top left corner."""

    def __init__(self, figure: Figure, width: int, height: int) -> None:
        self._figure, self._width, self._height = figure, width, height

    def picture(self, left: int, top: int, pixels: NDArray[np.uint8]) -> None:
        self._figure.figimage(pixels, xo=left, yo=self._height - top - pixels.shape[0], origin="upper")

    def text(self, x: float, y: float, words: str, size: int, *, bold: bool = False, align: str = "center") -> None:
        weight = "bold" if bold else "normal"
        self._figure.text(
            x / self._width,
            1 - y / self._height,
            words,
            fontsize=size,
            ha=align,
            va="center",
            weight=weight,
            parse_math=False,
        )

    def number(self, x: float, y: float, words: str) -> None:
        self._figure.text(
            x / self._width,
            1 - y / self._height,
            words,
            fontsize=11,
            ha="center",
            va="center",
            color="white",
            weight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
        )


def _draw_cell(page: _Page, cell: Cell, left: int, top: int, middle: float) -> None:
    page.picture(left, top, cell.pixels)
    if cell.labels is not None:
        for value, row, column in number_positions(cell.labels):
            page.number(left + column, top + row, str(value))
    if cell.caption:
        page.text(middle, top + cell.pixels.shape[0] + CAPTION * 0.42, cell.caption, 10)


def _legend_rows(entries: Sequence[tuple[int, str]], width: int) -> list[list[tuple[int, str]]]:
    """Entries cut into lines: classes as many to a line as fit, the two special patches on a line of their own."""
    classes = [entry for entry in entries if entry[0] >= 0]
    columns = max(1, (width - 2 * MARGIN) // _entry_width(classes))
    lines = [classes[start : start + columns] for start in range(0, len(classes), columns)]
    special = [entry for entry in entries if entry[0] < 0]
    return [*lines, special] if special else lines


def _entry_width(entries: Sequence[tuple[int, str]]) -> int:
    return SWATCH[1] + 2 * GAP + CHARACTER * max((len(text) for _, text in entries), default=0)


def _draw_legend(page: _Page, lines: Sequence[Sequence[tuple[int, str]]], grid: Grid, top: int) -> None:
    step = _entry_width([entry for line in lines for entry in line if entry[0] >= 0])
    for number, line in enumerate(lines):
        for index, (value, text) in enumerate(line):
            left = MARGIN + index * (step if value >= 0 else _entry_width(line))
            middle = top + number * LINE + LINE // 2
            page.picture(left, middle - SWATCH[0] // 2, swatch(value, grid.colours, *SWATCH))
            page.text(left + SWATCH[1] + GAP * 0.6, middle, text, 11, align="left")
    if _has_clusters(grid):
        page.text(MARGIN, top + len(lines) * LINE + LINE / 2, CLUSTERS, 11, align="left")


def _has_clusters(grid: Grid) -> bool:
    return any(cell.labels is not None and not cell.named for row in grid.rows for cell in row)
