"""One step of SmooSeg: losses of a batch of views, then the teacher, then the student."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from patchbank.methods.smooseg.losses import class_vectors, data_loss, smoothness
from patchbank.methods.smooseg.prototypes import Prototypes
from patchbank.methods.smooseg.settings import SmooSegSettings
from patchbank.methods.tools.correspondence import other_images, unit
from patchbank.methods.tools.token_heads import TokenHead, dropout


class SmooSeg(nn.Module):
    """Head and prototypes."""

    def __init__(self, dim: int, classes: int, settings: SmooSegSettings, seed: int) -> None:
        super().__init__()
        self.head = TokenHead(dim, settings.width, "silu", seed)
        self.prototypes = Prototypes(classes, settings.width, seed)


@dataclass(frozen=True)
class Drawn:
    """Everything random of a step.

    Attributes:
        partners: (B,) int64, another image of the batch for every one.
        masks: d1 and d2, (B, 1, D) each; None without dropout.
        signal: d3 (B, 1, D); None without.
    """

    partners: Tensor
    masks: tuple[Tensor, Tensor] | None = None
    signal: Tensor | None = None


@dataclass(frozen=True)
class Losses:
    """Scalars of a step: `total` is the sum of the losses, `used` the number of classes that some token chose."""

    intra: Tensor
    inter: Tensor
    data: Tensor
    total: Tensor
    used: Tensor


def draw(rng: np.random.Generator, batch: int, dim: int, settings: SmooSegSettings, device: torch.device) -> Drawn:
    """Draw partners and dropout of a batch of `batch` views with tokens of width `dim`."""
    partners, masks, signal = other_images(rng, batch).to(device), None, None
    if settings.dropout:
        one, two = (dropout(rng, (batch, 1, dim), settings.dropout, device) for _ in range(2))
        masks = (one, two)
    if settings.signal_dropout:
        signal = dropout(rng, (batch, 1, dim), settings.signal_dropout, device)
    return Drawn(partners, masks, signal)


def losses(model: SmooSeg, tokens: Tensor, drawn: Drawn, settings: SmooSegSettings) -> Losses:
    """The losses of tokens (B, N, D): smoothness moves the head only, the data loss the student's prototypes only."""
    codes = model.head(tokens, drawn.masks)
    local, teacher = model.prototypes(codes)
    signal = unit(tokens if drawn.signal is None else tokens * drawn.signal)
    classes, p = class_vectors(teacher), drawn.partners
    intra, _ = smoothness(signal, signal, classes, classes, settings.shift_intra, settings.centring)
    inter, _ = smoothness(signal, signal[p], classes, classes[p], settings.shift_inter, settings.centring)
    data = data_loss(local, teacher)
    used = torch.bincount(teacher.argmax(-1).flatten(), minlength=teacher.shape[-1]).gt(0).sum()
    return Losses(intra, inter, data, intra + inter + data, used.to(data.dtype))


def build_optimiser(model: SmooSeg, settings: SmooSegSettings) -> torch.optim.Adam:
    """Adam with a learning rate for the head and one for the prototypes."""
    groups = [
        {"params": list(model.head.parameters()), "lr": settings.lr},
        {"params": list(model.prototypes.parameters()), "lr": settings.prototype_lr},
    ]
    return torch.optim.Adam(groups)


def update(model: SmooSeg, optimiser: torch.optim.Optimizer, loss: Tensor, decay: float) -> None:
    """Gradients, then the teacher from the student as it still is, then Adam."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    model.prototypes.follow(decay)
    optimiser.step()
