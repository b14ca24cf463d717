"""Both losses of SmooSeg, the smoothness loss without any matrix of N x N similarities.

With unit tokens f of an image and f' of its partner, unit class probabilities q and q', fd the spatially centred cosine
of two tokens:

    part = mean over images and pairs (i, j) of (fd_ij - shift) * (1 - <q_i, q'_j>)

There is no clamp, so the mean falls apart into sums over tokens (m the mean token of the partner, m0 the mean of fd, r
that of <q_i, q'_j>):

    part = (m0 - shift) (1 - r) - mean over images of sum_k < sum_i q_ik f_i, sum_j q'_jk (f'_j - m) > / N^2

The same numbers at N K D instead of N^2 D operations an image.

Source: SmooSeg, https://github.com/mc-lan/SmooSeg.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from patchbank.methods.tools.correspondence import unit

TEMPERATURE = 0.1
"""Of the softmax that makes class probabilities of cosines, published."""


def class_vectors(cosines: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Class probabilities (B, N, K) of cosines (B, N, K), at length 1."""
    return unit(functional.softmax(cosines / temperature, -1))


def smoothness(
    tokens: Tensor, others: Tensor, classes: Tensor, partners: Tensor, shift: float, centred: bool = True
) -> tuple[Tensor, Tensor]:
    """One part of the smoothness loss.

    Args:
        tokens: (B, N, D) unit tokens, without a gradient.
        others: those of every image's partner.
        classes: (B, N, K) from `class_vectors`.
        partners: those of every image's partner.
        shift: what the similarity of tokens has to exceed for classes to be pulled together.
        centred: spatial centring of the similarities.

    Returns:
        The loss, and 1 - r, the mean dissimilarity of classes.
    """
    pairs = tokens.shape[1] * others.shape[1]
    with torch.no_grad():
        mean_of_others = others.mean(1, keepdim=True)
        mean = (tokens.mean(1) * mean_of_others[:, 0]).sum(-1).mean()
        signal = others - mean_of_others if centred else others
    alike = (classes.sum(1) * partners.sum(1)).sum(-1).mean() / pairs
    pooled, pooled_others = classes.transpose(1, 2) @ tokens, partners.transpose(1, 2) @ signal
    together = (pooled * pooled_others).sum((1, 2)).mean() / pairs
    loss = (mean - shift) * (1 - alike) if centred else mean - shift * (1 - alike)
    return loss - together, (1 - alike).detach()


def data_loss(local: Tensor, teacher: Tensor) -> Tensor:
    """Mean cross entropy of the cosines with the student's prototypes against the teacher's choice.

    Args:
        local: (B, N, K) cosines of codes without a gradient; no temperature, as published.
        teacher: (B, N, K) cosines with the teacher's prototypes.
    """
    return functional.cross_entropy(local.flatten(0, 1), teacher.argmax(-1).flatten())
