"""The two losses of AlignSeg, and which local crops meet which global crop.

The patch loss is defined over all pairs of patches; `patch_alignment` needs no N x N matrix because both the
similarity of assignments and the correspondence are inner products:

    sum_nm s[n,m] c[n,m] = sum_q < sum_n a_g[n,q] norm(g_n), sum_m a_l[m,q] norm(l_m) >

Source: AlignSeg, "Rethinking Self-Supervised Semantic Segmentation: Achieving End-to-End Segmentation",
https://github.com/yliu1229/AlignSeg.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from patchbank.methods.alignseg.model import normalise

WEIGHT = 0.15
"""Weight of the patch loss in the published code."""


def pair_crops(pairing: str, batch: int, local_crops: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Which local crop the losses compare with each global crop.

    Args:
        pairing: ``same_image``, or ``reference``: the published code reads crop-major rows as image-major ones.
        batch: number of images B.
        local_crops: number of local crops L of an image.
        device: where the indices are made.

    Returns:
        image and local index, both (B, L) int64: pair (b, i) is local crop ``local[b, i]`` of ``image[b, i]``.
    """
    b, i = torch.arange(batch, device=device)[:, None], torch.arange(local_crops, device=device)[None]
    if pairing == "same_image":
        return b.expand(batch, local_crops), i.expand(batch, local_crops)
    row = b * local_crops + i
    return row % batch, row // batch


def query_alignment(global_queries: Tensor, local_queries: Tensor) -> Tensor:
    """Contrast every query with all others of both views; its counterpart in the other view is the positive.

    Args:
        global_queries: (B, Q, D).
        local_queries: (B, L, Q, D), those of the local crops paired with each global crop.

    Returns:
        scalar: cross entropy, mean over rows, images and local crops.
    """
    count = global_queries.shape[1]
    views = (global_queries[:, None].expand_as(local_queries), local_queries)
    z = normalise(torch.cat(views, dim=2))
    similarity = z @ z.transpose(-1, -2)
    itself = torch.eye(2 * count, dtype=torch.bool, device=z.device)
    counterpart = (torch.arange(2 * count, device=z.device) + count) % (2 * count)
    logits = similarity.masked_fill(itself, float("-inf")).flatten(0, 2)
    return functional.cross_entropy(logits, counterpart.repeat(len(logits) // (2 * count)))


def patch_alignment(
    pooled: tuple[Tensor, Tensor], mass: tuple[Tensor, Tensor], means: tuple[Tensor, Tensor], pressure: float
) -> Tensor:
    """The patch loss from per-query sums of `pooling.assignment_pool`.

    Args:
        pooled: global (B, Q, D) and paired local (B, L, Q, D) sums of assigned normalised foreground tokens.
        mass: global (B, Q) and paired local (B, L, Q) sums of assignments over the foreground.
        means: mean normalised token over ALL patches, global (B, D) and paired local (B, L, D); no gradient.
        pressure: subtracted from every correspondence.

    Returns:
        scalar: sum over pairs of patches and images, mean over local crops, times 0.15.
    """
    (pooled_g, pooled_l), (mass_g, mass_l), (mean_g, mean_l) = pooled, mass, means
    # c = <g_n, l_m> - <g_n, mean l> + level; level restores the batch mean, one number for each local index
    level = torch.einsum("bd,bld->l", mean_g, mean_l) / len(mean_g)
    centred = pooled_l - mass_l[..., None] * mean_l[:, :, None]
    agreement = torch.einsum("bqd,blqd->l", pooled_g, centred)
    pairs = torch.einsum("bq,blq->l", mass_g, mass_l)
    return -WEIGHT * (agreement + (level - pressure) * pairs).mean()
