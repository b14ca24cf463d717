"""AdamW as published: betas .9 / .999, eps 1e-8, no weight decay on biases, 1-d parameters and queries.

The learning rate is set once an epoch (`AlignSegSettings.learning_rate`); there is no warm-up and no clipping. On a
GPU it is a tensor there, so that a recorded step (`patchbank.methods.alignseg.capture`) reads its present value.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.settings import AlignSegSettings

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def build_optimiser(model: QueryDecoder, settings: AlignSegSettings) -> torch.optim.AdamW:
    """AdamW over the parameters of `model`, in one group with and one without weight decay."""
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (plain if parameter.ndim == 1 or name == "queries" else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": float(settings.weight_decay)},
        {"params": plain, "weight_decay": 0.0},
    ]
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


def optimiser_tensors(optimiser: torch.optim.Optimizer, model: QueryDecoder) -> dict[str, Tensor]:
    """Moments and step counts as ``<moment>/<parameter>``; parameters that never had a gradient have none."""
    return {
        f"{moment}/{name}": optimiser.state[parameter][moment]
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
        for moment in _MOMENTS
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, model: QueryDecoder, tensors: Mapping[str, Tensor]) -> None:
    """Give `optimiser` the moments that `optimiser_tensors` returned."""
    for name, parameter in model.named_parameters():
        if f"step/{name}" in tensors:
            # the step count keeps its device: AdamW's fused form wants it where the parameter is
            optimiser.state[parameter] = {m: tensors[f"{m}/{name}"].to(parameter.device) for m in _MOMENTS}
