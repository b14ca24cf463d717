"""What the training logs say of a step (`patchbank.methods.tools.logs`).

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

COLUMNS = (
    "step", "epoch", "lr", "loss_category", "loss_uncertainty", "loss_embedding", "loss", "alpha", "skipped",
    "constant_maps", "images_per_second",
)  # fmt: skip
