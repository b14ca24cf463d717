"""Projections of earlier tokens, a bounded number for each row of the codebook.

Source: CAUSE, https://arxiv.org/abs/2310.07379. The published code joins and normalises lists in every step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """At most `limit` projections of each code, the newest.

    Args:
        codes: M.
        limit: entries of a code.
        width: P of a projection.
    """

    def __init__(self, codes: int, limit: int, width: int) -> None:
        super().__init__()
        self.values = nn.Buffer(torch.zeros(codes, limit, width))
        self.sizes = nn.Buffer(torch.zeros(codes, dtype=torch.int64))

    @torch.no_grad()
    def add(self, codes: Tensor, projections: Tensor, orders: Iterator[Tensor]) -> None:
        """Keep half of the tokens of every code that is present.

        Args:
            codes: (m,) rows of the codebook.
            projections: (m, P).
            orders: for each code that is present, ascending, a permutation of its tokens, of which the first half is
                kept.
        """
        limit = self.values.shape[1]
        for code in torch.unique(codes).tolist():
            rows = (codes == code).nonzero()[:, 0]
            order = next(orders).to(rows.device)
            new = projections[rows[order][: len(rows) // 2]]
            old = self.values[code, : int(self.sizes[code])]
            kept = torch.cat([old, new])[-limit:]
            self.values[code, : len(kept)] = kept
            self.sizes[code] = len(kept)

    def stored(self) -> tuple[Tensor, Tensor] | None:
        """Codes (m,) and projections (m, P) of all entries, by code, the oldest of each first; None for none."""
        there = torch.arange(self.values.shape[1], device=self.sizes.device) < self.sizes[:, None]
        if not there.any():
            return None
        return there.nonzero()[:, 0], self.values[there]


def random_orders(codes: Tensor, rng: np.random.Generator) -> Iterator[Tensor]:
    """A random permutation for every code that is present, ascending."""
    for count in torch.unique(codes, return_counts=True)[1].tolist():
        yield torch.from_numpy(rng.permutation(count))
