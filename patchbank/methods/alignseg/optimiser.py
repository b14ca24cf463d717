"""AdamW as published: betas .9 / .999, eps 1e-8, no weight decay on biases, 1-d parameters and queries.

The learning rate is set once an epoch (`AlignSegSettings.learning_rate`); there is no warm-up and no clipping. On a
GPU it is a tensor there, so that a recorded step (`patchbank.methods.alignseg.capture`) reads its present value.
"""

from __future__ import annotations

import torch
from torch import Tensor

from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.methods.tools.optimiser import decay_groups


def build_optimiser(model: QueryDecoder, settings: AlignSegSettings) -> torch.optim.AdamW:
    """AdamW over the parameters of `model`, in one group with and one without weight decay."""
    groups = decay_groups(model, settings.weight_decay, spared=("queries",))
    on_gpu = model.queries.device.type == "cuda"
    rate = torch.tensor(float(settings.lr), device=model.queries.device) if on_gpu else float(settings.lr)
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.999), eps=1e-8, fused=True, capturable=on_gpu)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimiser.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
