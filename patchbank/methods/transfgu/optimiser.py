"""Adam as published: L2 in the gradient, betas .9 / .999, eps 1e-8, constant learning rate.

Biases and 1-d parameters have no weight decay; class embeddings and both output projections have. Every element of a
gradient is clamped to [-1, 1] before the step.
"""

from __future__ import annotations

import torch

from patchbank.methods.tools.optimiser import decay_groups
from patchbank.methods.transfgu.model import MaskDecoder
from patchbank.methods.transfgu.settings import TransFGUSettings

CLAMP = 1.0


def build_optimiser(model: MaskDecoder, settings: TransFGUSettings) -> torch.optim.Adam:
    """Adam over the parameters of `model`, in one group with and one without weight decay."""
    groups = decay_groups(model, settings.weight_decay)
    return torch.optim.Adam(groups, lr=float(settings.lr), betas=(0.9, 0.999), eps=1e-8, fused=True)
