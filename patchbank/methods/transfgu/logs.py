"""The training logs: one CSV row a step, and their means, one row an epoch.

| column | unit |
|---|---|
| `step` | 0-based, over the whole run (`steps.csv` only) |
| `epoch` | 0-based |
| `lr` | learning rate of the step |
| `loss_category`, `loss_uncertainty`, `loss_embedding` | the three losses, before their weights |
| `loss` | what is minimised |
| `alpha` | weight of the negative target, 0 before there is a teacher |
| `skipped` | 1 where the step was left out because its loss was not above 0 |
| `constant_maps` | images of the step whose maps are constant and teach nothing |
| `images_per_second` | images of the step / its wall time, reading included |
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchbank.files import write_text

COLUMNS = (
    "step", "epoch", "lr", "loss_category", "loss_uncertainty", "loss_embedding", "loss", "alpha", "skipped",
    "constant_maps", "images_per_second",
)  # fmt: skip
_WHOLE = ("step", "epoch")


def write_logs(rows: Sequence[Sequence[float]], steps_csv: str | Path, epochs_csv: str | Path) -> None:
    """Write all rows (in the order of `COLUMNS`) and their means over epochs (a value that is no number left out)."""
    write_text(steps_csv, _table(COLUMNS, rows))
    table = np.asarray(rows, dtype=np.float64).reshape(-1, len(COLUMNS))
    epochs = []
    for epoch in np.unique(table[:, 1]):
        part = table[table[:, 1] == epoch][:, 1:]
        known = np.isfinite(part)
        sums, counts = np.where(known, part, 0).sum(0), known.sum(0)
        epochs.append([s / n if n else float("nan") for s, n in zip(sums.tolist(), counts.tolist(), strict=True)])
    write_text(epochs_csv, _table(COLUMNS[1:], epochs))


def _table(columns: Sequence[str], rows: Sequence[Sequence[float]]) -> str:
    lines = [",".join(columns)]
    for row in rows:
        cells = zip(columns, row, strict=True)
        lines.append(",".join(str(int(value)) if name in _WHOLE else f"{value:.9g}" for name, value in cells))
    return "\n".join(lines) + "\n"
