"""Optimisers of the Adam family: which parameters decay, and the moments as tensors with names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def decay_groups(model: nn.Module, weight_decay: float, spared: Collection[str] = ()) -> list[dict[str, Any]]:
    """Two groups of the parameters of `model`: with weight decay, and 1-d ones and `spared` names without."""
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in model.named_parameters():
        (plain if parameter.ndim == 1 or name in spared else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": float(weight_decay)}, {"params": plain, "weight_decay": 0.0}]


def optimiser_tensors(optimiser: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Moments and step counts as ``<moment>/<parameter>``; parameters that never had a gradient have none."""
    return {
        f"{moment}/{name}": optimiser.state[parameter][moment]
        for name, parameter in model.named_parameters()
        if parameter in optimiser.state
        for moment in _MOMENTS
    }


def restore_optimiser(optimiser: Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give `optimiser` the moments that `optimiser_tensors` returned."""
    for name, parameter in model.named_parameters():
        if f"step/{name}" in tensors:
            # the step count keeps its device: AdamW's fused form wants it where the parameter is
            optimiser.state[parameter] = {m: tensors[f"{m}/{name}"].to(parameter.device) for m in _MOMENTS}
