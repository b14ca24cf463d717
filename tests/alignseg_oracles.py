"""Definitions of AlignSeg as they are written down, slow: what the package computes another way is compared with them.

Source: AlignSeg, https://github.com/yliu1229/AlignSeg.
"""

from __future__ import annotations

import torch
from torch import Tensor

from patchbank.methods.alignseg.losses import WEIGHT
from patchbank.methods.alignseg.model import EPS, normalise


def patch_alignment_by_pairs(
    tokens: tuple[Tensor, Tensor], queries: tuple[Tensor, Tensor], foreground: tuple[Tensor, Tensor], pressure: float
) -> Tensor:
    """The patch loss of one local index from its definition, with all N x M pairs.

    Args:
        tokens: global (B, N, D) and local (B, M, D).
        queries: global and local decoder outputs (B, Q, D).
        foreground: masks (B, N) and (B, M), 1 or 0.
        pressure: subtracted from every correspondence.

    Returns:
        scalar: sum over pairs of patches and images, times 0.15.
    """
    patches_g, patches_l = (normalise(part) for part in tokens)
    correspondence = (patches_g @ patches_l.transpose(1, 2)).detach()
    level = correspondence.mean()
    correspondence = correspondence - correspondence.mean(2, keepdim=True)
    correspondence = correspondence - correspondence.mean() + level
    assigned_g, assigned_l = (
        (part @ normalise(query).transpose(1, 2)).clamp(min=0).softmax(-1)
        for part, query in zip((patches_g, patches_l), queries, strict=True)
    )
    same = assigned_g @ assigned_l.transpose(1, 2)
    counts = foreground[0][:, :, None] * foreground[1][:, None, :]
    return -WEIGHT * (counts * same * (correspondence - pressure)).sum()


def assignment_logits(tokens: Tensor, queries: Tensor) -> Tensor:
    """Cosines of tokens (C, N, D) with queries (C, Q, D) -> (C, N, Q), in [-1, 1]."""
    norms = torch.linalg.vector_norm(tokens, dim=-1, keepdim=True).clamp(min=EPS)
    return torch.bmm(tokens, normalise(queries).transpose(1, 2)).div(norms)
