"""STEGO's cluster probe: K vectors that learn beside the head to lie near the codes, which are given no gradient.

`probe: reference` trains it; our default clusters the final codes instead, because this probe is what fails where
STEGO is trained again (docs/field.md).

Source: STEGO, `modules.py` (`ClusterLookup`), https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from patchbank.methods.tools.correspondence import unit
from patchbank.seeds import derive

EPS = 1e-12
"""Lengths below it count as it."""


class ClusterProbe(nn.Module):
    """K vectors (K, C), standard normal at the start."""

    def __init__(self, classes: int, width: int, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(derive("cluster probe", seed))
        self.clusters = nn.Parameter(torch.randn(classes, width, generator=rng))

    def forward(self, codes: Tensor) -> Tensor:
        """Cosines (..., K) of codes (..., C)."""
        return unit(codes, EPS) @ unit(self.clusters, EPS).T

    def loss(self, codes: Tensor) -> Tensor:
        """Minus the mean of the largest cosine of every code."""
        largest: Tensor = self(codes).amax(-1)
        return -largest.mean()
