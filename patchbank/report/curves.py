"""Draw the training curves of one method: losses, learning rate and used segments, one line for each seed.

Input: the `steps.csv` of every training seed; columns `step`, `lr`, `used_segments` and any `loss_*` are drawn where
they are there. Output: a PNG whose bytes depend on the numbers (and the library versions) only. A line is the moving
mean over a twenty-fifth of the steps, the values themselves lie pale behind it; seeds differ in colour and line style.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from patchbank.datasets.listing import SOFTWARE
from patchbank.errors import UserError
from patchbank.files import atomic_path

LABELS = {
    "loss_patch": "patch alignment loss (sum over pairs)",
    "loss_query": "query alignment loss (mean)",
    "lr": "learning rate",
    "used_segments": "segments used (mean)",
}
"""Axis label of each known column; another `loss_*` column is shown under its own name."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, which people with the common kinds of colour blindness can tell apart."""

STYLES = ("-", "--", "-.", ":")
WINDOWS = 25
"""The moving mean covers one part in this many of all steps."""

Curves = dict[str, NDArray[np.float64]]


def draw_curves(steps: Mapping[int, Path], out: Path) -> None:
    """Draw the curves of all seeds and write them as PNG, atomically.

    Args:
        steps: `steps.csv` of each training seed.
        out: the PNG to write.

    Raises:
        UserError: there is no seed, or a file is missing, lacks `step` or holds no row.
    """
    if not steps:
        raise UserError(f"{out}: no training log was given, so there are no curves to draw.")
    logs = {seed: read_steps(path) for seed, path in sorted(steps.items())}
    first = next(iter(logs.values()))
    names = [name for name in first if name.startswith("loss_")]
    names += [name for name in ("loss",) if not names and name in first]
    names += [name for name in ("lr", "used_segments") if name in first]
    height = (len(names) + 1) // 2
    figure = Figure(figsize=(11, 0.6 + 3.3 * height), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(height, 2, index + 1) for index in range(len(names))]
    for axis, name in zip(axes, names, strict=True):
        _draw(axis, name, logs)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 8), frameon=False)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": SOFTWARE})


def read_steps(path: Path) -> Curves:
    """Columns of a `steps.csv` as float64 arrays of equal length; an empty cell is NaN (drawn as a gap)."""
    if not path.is_file():
        raise UserError(f"{path} does not exist; run the train stage first.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        names = list(reader.fieldnames or ())
    if "step" not in names or not rows:
        raise UserError(f"{path} has columns {names} and {len(rows)} rows; a log with a column 'step' is needed.")
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except ValueError as error:
        raise UserError(f"{path} holds something that is no number ({error}); train again.") from None


def moving_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Centred moving mean over `window` values (made odd), over fewer at both ends; same length."""
    half = window // 2
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    start, stop = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    means: NDArray[np.float64] = (sums[stop] - sums[start]) / (stop - start)
    return means


def _draw(axis: Axes, name: str, logs: Mapping[int, Curves]) -> None:
    for index, (seed, log) in enumerate(logs.items()):
        if name not in log:
            continue
        colour, style = COLOURS[index % len(COLOURS)], STYLES[index % len(STYLES)]
        values, step = log[name], log["step"]
        label = f"seed {seed}"
        window = max(1, len(values) // WINDOWS)
        if name == "lr" or window < 3 or not np.isfinite(values).all():
            axis.plot(step, values, color=colour, linestyle=style, linewidth=1.6, label=label)
        else:
            axis.plot(step, values, color=colour, linewidth=0.6, alpha=0.2)
            axis.plot(step, moving_mean(values, window), color=colour, linestyle=style, linewidth=1.6, label=label)
    axis.set_xlabel("training step")
    axis.set_ylabel(LABELS.get(name, name.replace("_", " ")))
    axis.set_axisbelow(True)
    axis.grid(color="#dddddd", linewidth=0.6)
    axis.margins(x=0.01)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
