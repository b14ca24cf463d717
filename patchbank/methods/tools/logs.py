"""The training logs: one CSV row a step, and their means, one row an epoch.

The first columns are `step` (0-based, over the whole run; `steps.csv` only) and `epoch` (0-based), whole numbers; what
follows are finite numbers, or none where a step has no such value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from patchbank.files import write_text
from patchbank.methods.jobs import TrainingFiles

_WHOLE = ("step", "epoch")


def write_logs(columns: Sequence[str], rows: Sequence[Sequence[float]], files: TrainingFiles) -> None:
    """Write all rows (in the order of `columns`) and their means over epochs; a value that is no number is left out."""
    write_text(files.steps_csv, _table(columns, rows))
    table = np.asarray(rows, dtype=np.float64).reshape(-1, len(columns))
    epochs = []
    for epoch in np.unique(table[:, 1]):
        part = table[table[:, 1] == epoch][:, 1:]
        known = np.isfinite(part)
        sums, counts = np.where(known, part, 0).sum(0), known.sum(0)
        epochs.append([s / n if n else float("nan") for s, n in zip(sums.tolist(), counts.tolist(), strict=True)])
    write_text(files.epochs_csv, _table(columns[1:], epochs))


def _table(columns: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
    lines = [",".join(columns)]
    for row in rows:
        cells = zip(columns, row, strict=True)
        lines.append(",".join(str(int(value)) if name in _WHOLE else f"{value:.9g}" for name, value in cells))
    return "\n".join(lines) + "\n"
