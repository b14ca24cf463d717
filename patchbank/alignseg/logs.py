"""The training logs: one CSV row a step, and their means, one row an epoch.

| column | unit |
|---|---|
| `step` | 0-based, over the whole run (`steps.csv` only) |
| `epoch` | 0-based |
| `lr` | learning rate of the step |
| `loss_patch`, `loss_query`, `loss` | the two losses and their sum |
| `used_segments` | mean number of distinct best queries in a global crop |
| `images_per_second` | images of the step / its wall time, reading included |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchbank.files import write_text

COLUMNS = ("step", "epoch", "lr", "loss_patch", "loss_query", "loss", "used_segments", "images_per_second")
_WHOLE = ("step", "epoch")


def write_logs(rows: Sequence[Sequence[float]], steps_csv: str | Path, epochs_csv: str | Path) -> None:
    """Write all rows (in the order of `COLUMNS`) and their means over epochs."""
    write_text(steps_csv, _table(COLUMNS, rows))
    table = np.asarray(rows, dtype=np.float64).reshape(-1, len(COLUMNS))
    epochs = [table[table[:, 1] == epoch][:, 1:].mean(0).tolist() for epoch in np.unique(table[:, 1])]
    write_text(epochs_csv, _table(COLUMNS[1:], epochs))


def _table(columns: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
    lines = [",".join(columns)]
    for row in rows:
        cells = zip(columns, row, strict=True)
        lines.append(",".join(str(int(value)) if name in _WHOLE else f"{value:.9g}" for name, value in cells))
    return "\n".join(lines) + "\n"
