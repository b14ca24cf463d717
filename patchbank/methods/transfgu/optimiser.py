"""Adam as published: L2 in the gradient, betas .9 / .999, eps 1e-8, constant learning rate.

Biases and 1-d parameters have no weight decay; class embeddings and both output projections have. Every element of a
gradient is clamped to [-1, 1] before the step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from patchbank.methods.transfgu.model import MaskDecoder
from patchbank.methods.transfgu.settings import TransFGUSettings

CLAMP = 1.0
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def build_optimiser(model: MaskDecoder, settings: TransFGUSettings) -> torch.optim.Adam:
    """Adam over the parameters of `model`, in one group with and one without weight decay."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    plain = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [
        {"params": decayed, "weight_decay": float(settings.weight_decay)},
        {"params": plain, "weight_decay": 0.0},
    ]
    return torch.optim.Adam(groups, lr=float(settings.lr), betas=(0.9, 0.999), eps=1e-8, fused=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer, model: MaskDecoder) -> dict[str, Tensor]:
    """Moments and step counts as ``<moment>/<parameter>``; none before the first step."""
    return {
        f"{moment}/{name}": optimiser.state[parameter][moment]
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
        for moment in _MOMENTS
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, model: MaskDecoder, tensors: Mapping[str, Tensor]) -> None:
    """Give `optimiser` the moments that `optimiser_tensors` returned."""
    for name, parameter in model.named_parameters():
        if f"step/{name}" in tensors:
            optimiser.state[parameter] = {m: tensors[f"{m}/{name}"].to(parameter.device) for m in _MOMENTS}
