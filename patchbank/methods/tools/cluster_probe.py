"""Cosine k-means by gradient: K vectors that learn to lie near the tokens or codes, which are given no gradient.

STEGO's cluster probe, which learns beside its head, and PriMaPs' baseline, which learns on tokens.

Source: STEGO, `modules.py` (`ClusterLookup`), https://github.com/mhamilton723/STEGO; PriMaPs-EM,
https://github.com/visinf/primaps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from patchbank.methods.tools.correspondence import unit
from patchbank.seeds import derive

EPS = 1e-12
"""Lengths below it count as it."""


class ClusterProbe(nn.Module):
    """K vectors.

    Args:
        start: (K, C) values at the start.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.clusters = nn.Parameter(start.clone())

    @classmethod
    def normal(cls, classes: int, width: int, seed: int) -> ClusterProbe:
        """K vectors that start standard normal."""
        rng = torch.Generator().manual_seed(derive("cluster probe", seed))
        return cls(torch.randn(classes, width, generator=rng))

    def forward(self, codes: Tensor) -> Tensor:
        """Cosines (..., K) of codes (..., C)."""
        return unit(codes, EPS) @ unit(self.clusters, EPS).T

    def loss(self, codes: Tensor) -> Tensor:
        """Minus the mean of the largest cosine of every code."""
        largest: Tensor = self(codes).amax(-1)
        return -largest.mean()
