"""SmooSeg's prototypes: the student's learn to be chosen as the teacher's are, which follow them slowly.

Source: SmooSeg, https://github.com/mc-lan/SmooSeg.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from patchbank.methods.tools.correspondence import unit
from patchbank.seeds import derive

EPS = 1e-12
"""Lengths below it count as it."""


class Prototypes(nn.Module):
    """Student's and teacher's prototypes, (K, C) each: at the start the same, normal directions of length 1."""

    def __init__(self, classes: int, width: int, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(derive("prototypes", seed))
        start = unit(torch.randn(classes, width, generator=rng))
        self.local = nn.Parameter(start.clone())
        self.teacher = nn.Buffer(start)

    def forward(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines (B, N, K) of codes (B, N, C): the student's move the prototypes, the teacher's the codes."""
        return unit(codes.detach(), EPS) @ unit(self.local, EPS).T, unit(codes, EPS) @ unit(self.teacher, EPS).T

    def follow(self, decay: float) -> None:
        """The teacher's become decay * teacher's + (1 - decay) * student's, neither of them normalised."""
        self.teacher.mul_(decay).add_(self.local.detach(), alpha=1 - decay)
