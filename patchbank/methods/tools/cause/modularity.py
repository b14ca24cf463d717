"""Modularity: prototypes are good when tokens that are alike more than chance have a prototype in common.

For the tokens x of an image, A the positive part of their cosines without its diagonal, d its row sums, e its sum, C
the positive part of the cosines of tokens and prototypes:

    loss = - 1/e sum_ij (A_ij - d_i d_j / e) tanh(max_m C_im C_jm / 0.1)

Only the prototype with the largest product of a pair has a gradient, so the n x n x M products are made without one.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from patchbank.methods.tools.correspondence import unit
from patchbank.seeds import derive

EPS = 1e-12
"""Lengths below it count as it."""
TEMPERATURE = 0.1
"""Of the tanh, published."""


class Prototypes(nn.Module):
    """M vectors (M, D), uniform within 1 / M at the start: the codebook of tokens, and the probe of codes."""

    def __init__(self, count: int, width: int, seed: int, what: str) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(derive(what, seed))
        self.vectors = nn.Parameter(torch.empty(count, width).uniform_(-1 / count, 1 / count, generator=rng))


def block_side(side: int, grid: tuple[int, int]) -> int:
    """Side of a block of patches: `side`, or the largest below it that leaves four blocks of the grid, or 1."""
    return next((b for b in range(side, 1, -1) if (grid[0] // b) * (grid[1] // b) >= 4), 1)


def block_order(rng: np.random.Generator, images: int, grid: tuple[int, int], side: int) -> Tensor:
    """One random patch (int64) of every block, image by image, row by row."""
    count = images * (grid[0] // side) * (grid[1] // side)
    return torch.from_numpy(rng.integers(0, side * side, count))


def block_sample(tokens: Tensor, grid: tuple[int, int], order: Tensor, side: int) -> Tensor:
    """One token of every block of ``side x side`` patches.

    Args:
        tokens: (B, N, D).
        grid: (h, w); what is left over at the right and at the bottom is dropped.
        order: (B * blocks,) patch inside each block, row by row.
        side: of a block.

    Returns:
        (B, blocks, D).
    """
    rows, columns = grid[0] // side, grid[1] // side
    order = order.view(len(tokens), rows, columns).to(tokens.device)
    top = torch.arange(rows, device=tokens.device)[:, None] * side
    left = torch.arange(columns, device=tokens.device)[None] * side
    patch = ((top + order // side) * grid[1] + left + order % side).flatten(1)
    return tokens.gather(1, patch[:, :, None].expand(-1, -1, tokens.shape[2]))


def modularity_loss(tokens: Tensor, vectors: Tensor) -> Tensor:
    """Mean loss of images.

    Args:
        tokens: (B, n, D) sampled tokens or codes; they get no gradient.
        vectors: (M, D) prototypes.

    An image whose tokens are alike to no other one says nothing and counts 0.
    """
    directed, prototypes = unit(tokens.detach(), EPS), unit(vectors, EPS)
    return torch.stack([_of_image(image, prototypes) for image in directed]).mean()


def _of_image(directed: Tensor, prototypes: Tensor) -> Tensor:
    alike = (directed @ directed.T).clamp(min=0).fill_diagonal_(0)
    degree, total = alike.sum(1), alike.sum()
    if total <= 0:
        return prototypes.sum() * 0
    above_chance = alike - degree[:, None] * degree[None] / total
    near = (directed @ prototypes.T).clamp(min=0)
    with torch.no_grad():
        best = torch.stack([(row * near).argmax(1) for row in near])
    together = near.gather(1, best) * near.gather(1, best.T).T
    return -(above_chance * torch.tanh(together / TEMPERATURE)).sum() / total
