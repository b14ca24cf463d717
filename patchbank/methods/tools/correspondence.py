"""Similarities of tokens, as STEGO and SmooSeg compare them with those of codes.

Source: STEGO, `modules.py`, https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EPS = 1e-10


def unit(values: Tensor, eps: float = EPS) -> Tensor:
    """Vectors (..., D) of length 1; lengths below `eps` count as `eps`."""
    lengths: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    return values / lengths.clamp(min=eps)


def similarity(tokens: Tensor, others: Tensor, centred: bool) -> Tensor:
    """Cosines of all pairs, without a gradient.

    Args:
        tokens: (B, I, D).
        others: (B, J, D).
        centred: spatial centring: every row loses its mean over j, then everything is shifted back to the mean that it
            had over everything.

    Returns:
        (B, I, J).
    """
    with torch.no_grad():
        cosines = unit(tokens) @ unit(others).transpose(1, 2)
        if not centred:
            return cosines
        before = cosines.mean()
        cosines = cosines - cosines.mean(2, keepdim=True)
        return cosines - cosines.mean() + before


def other_images(rng: np.random.Generator, count: int) -> Tensor:
    """A partner (count,) int64 for every image of a batch, never the image itself where there are two.

    A random permutation whose fixed points move on by one, so that it is not always a permutation.
    """
    order = rng.permutation(count)
    order = (order + (order == np.arange(count))) % count
    return torch.from_numpy(order)
