"""Shifts without labels: the published rule, as a search on the train bank.

STEGO's author says how shifts are to be chosen: most negative pairs should have codes of cosine near 0, some positive
ones near 1 (issue 23 of the repository). A larger shift pushes more pairs apart. So a head is trained for some steps,
from the published active values; the shift of negatives rises while too few of them are near 0, that of positives falls
while too few of them are near 1, and a shift whose pairs are as they should be stays. What counts is the mean of each
shift over the second half; the head of the search is thrown away.

Source: https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LOW, HIGH = 0.2, 0.8
"""Cosines up to the one are near 0, from the other on near 1."""
PACE = 0.02
"""What a shift changes a step when its pairs are wholly wrong."""
LIMIT = 1.0
"""Shifts stay between minus it and it, as similarities do."""


class Shifts(nn.Module):
    """The three shifts, of intra, inter and negative pairs, and the sums that their means are made of.

    Args:
        start: where they begin.
    """

    def __init__(self, start: Sequence[float]) -> None:
        super().__init__()
        self.values = nn.Buffer(torch.tensor(start, dtype=torch.float32))
        self.sums = nn.Buffer(torch.zeros(3))
        self.counted = nn.Buffer(torch.zeros(()))

    def follow(self, similarities: Sequence[Tensor], near_zero: float, near_one: float, counts: bool) -> None:
        """Move every shift by what a step has shown.

        Args:
            similarities: cosines of codes of intra, inter and negative pairs.
            near_zero: share of negative pairs that should be near 0.
            near_one: share of positive pairs that should be near 1.
            counts: whether the shifts of this step are part of the means.
        """
        ones = [near_one - (cosines >= HIGH).float().mean() for cosines in similarities[:2]]
        zeros = near_zero - (similarities[2] <= LOW).float().mean()
        lacking = torch.stack([*ones, zeros]).clamp(min=0)
        change = lacking * torch.tensor([-PACE, -PACE, PACE], device=lacking.device)
        self.values.add_(change.to(self.values.device)).clamp_(-LIMIT, LIMIT)
        if counts:
            self.sums.add_(self.values)
            self.counted.add_(1)

    def means(self) -> list[float]:
        """Mean of each shift over the steps that count."""
        means: list[float] = (self.sums / self.counted.clamp(min=1)).tolist()
        return means
