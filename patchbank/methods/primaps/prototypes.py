"""Prototypes of PriMaPs: where they start, the student's, and the teacher's, which are its moving average.

Source: PriMaPs-EM, https://github.com/visinf/primaps.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


def principal_directions(blocks: Iterable[Tensor], count: int) -> Tensor:
    """First `count` principal directions (count, D) of tokens (n, D) in blocks, falling, their largest entry positive.

    Where tokens are narrower than that, the rest are sums of two directions, so that all differ.
    """
    total, products, number = np.zeros(0), np.zeros(0), 0
    for block in blocks:
        values = block.double().numpy()
        total = total + values.sum(0) if number else values.sum(0)
        products = products + values.T @ values if number else values.T @ values
        number += len(values)
    mean = total / number
    _, vectors = np.linalg.eigh(products / number - np.outer(mean, mean))
    vectors = vectors[:, ::-1][:, :count].T
    largest = np.abs(vectors).argmax(1)
    vectors = vectors * np.sign(vectors[np.arange(len(vectors)), largest])[:, None]
    directions = torch.from_numpy(np.ascontiguousarray(vectors)).float()
    extra = [
        directions[i % len(directions)] + directions[(i + 1 + i // len(directions)) % len(directions)]
        for i in range(count - len(directions))
    ]
    return torch.cat([directions, functional.normalize(torch.stack(extra), dim=1)]) if extra else directions


class Prototypes(nn.Module):
    """Classes of tokens: ``logit = gain * <direction / |direction|, token>``, both learned.

    Args:
        start: (K, D) directions at the start; gains start at 1.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.direction = nn.Parameter(start.clone())
        self.gain = nn.Parameter(torch.ones(len(start), 1))

    def vectors(self) -> Tensor:
        """(K, D), what tokens are multiplied with."""
        lengths: Tensor = torch.linalg.vector_norm(self.direction, dim=1, keepdim=True)
        return self.gain * self.direction / lengths

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, K, N) of tokens (B, N, D)."""
        return self.vectors() @ tokens.transpose(1, 2)


class Teacher(nn.Module):
    """The student's moving average, of directions and gains apart.

    Args:
        student: whose values it starts with.
        limit: largest decay.
        every: steps between two updates.
    """

    def __init__(self, student: Prototypes, limit: float, every: int) -> None:
        super().__init__()
        self.prototypes = Prototypes(student.direction.detach()).requires_grad_(False)
        self._limit, self._every = limit, every

    def after_step(self, student: Prototypes, number: int) -> None:
        """Follow the student after step `number`: not after the first, then every so many steps.

        The first two updates copy it; the decay of update n is then 1 - 1 / (1 + n), up to the limit.
        """
        if number == 0 or number % self._every:
            return
        update = number // self._every - 1
        decay = 0.0 if update < 2 else min(self._limit, 1 - 1 / (1 + update))
        for followed, other in zip(self.prototypes.parameters(), student.parameters(), strict=True):
            followed.mul_(decay).add_(other.detach(), alpha=1 - decay)
