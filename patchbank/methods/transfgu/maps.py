"""Pseudo-label maps of an image in closed form: what each centroid's gradient says of every patch.

For centroid k, L_k = 1 - cos(class token, centroid k) and G_k = dL_k / dA, the gradient at the class token's row of the
read block's attention A, mean over heads. Only that row reaches the class token, and o = concat_h sum_j A[h,0,j] v[h,j]
is linear in it, so

    G[h,0,j] = <(dL/do)_h, v[h,j]>,  mean over heads = <dL/do, v[j]> / heads,

with the values v[j] of all heads side by side. dL/do is a vector-Jacobian product of one token per centroid
(`patchbank.backbones.tail`); nothing is propagated back through the image.

With V the mean-head attention divided by its maximum and P = relu(-G_k) / gradient_batch, kept where it belongs to the
top 80 % of its mass: map_k = V + P, and 0 where G_k > 0.

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from patchbank.backbones.tail import ClassTail

MASS = 0.8
ZERO = -1.0
"""Stands in `Maps.push` where the map is 0 because the gradient is positive."""


@dataclass(frozen=True)
class Maps:
    """Maps of some images, in the parts that keep their precision (see `patchbank.methods.transfgu.pseudo_labels`).

    Attributes:
        base: (B, N), V.
        push: (B, K, N), P where it was kept, 0 where it was dropped, `ZERO` where the map is 0.
    """

    base: Tensor
    push: Tensor

    def values(self) -> Tensor:
        """The maps themselves, (B, K, N)."""
        return torch.where(self.push < 0, 0.0, self.base[:, None] + self.push)


def heaviest(values: Tensor, mass: float = MASS) -> Tensor:
    """Which of the values (..., N), none negative, belong to the top `mass` of their sum.

    Ascending sort, cumulated share > 1 - mass; nothing is kept of an all-zero row. As published, to the bit.
    """
    ascending, order = torch.sort(values, dim=-1)
    reached = torch.cumsum(ascending / ascending.sum(-1, keepdim=True), dim=-1) > 1 - mass
    return torch.zeros_like(reached).scatter(-1, order, reached)


def class_gradients(tail: ClassTail, mixed: Tensor, residual: Tensor, centroids: Tensor) -> Tensor:
    """dL_k / do of every image and centroid.

    Args:
        tail: from the attention's output to the class token.
        mixed: (B, D), o of each image.
        residual: (B, D), class token that enters the block.
        centroids: (K, D), not normalised.

    Returns:
        (B, K, D).
    """
    point = mixed.detach().clone().requires_grad_()
    with torch.enable_grad():
        token = functional.normalize(tail(point, residual), dim=-1)
        losses = 1 - token @ functional.normalize(centroids, dim=-1).T
    # the rows of one image depend on no other image: one product a centroid serves the whole batch
    seeds = torch.eye(len(centroids), dtype=losses.dtype, device=losses.device)[:, None].expand(-1, len(mixed), -1)
    (gradients,) = torch.autograd.grad(losses, point, seeds, is_grads_batched=True)
    return gradients.transpose(0, 1)


def gradient_maps(
    tail: ClassTail,
    values: Tensor,
    attention: Tensor,
    mixed: Tensor,
    residual: Tensor,
    centroids: Tensor,
    gradient_batch: int,
) -> Maps:
    """Maps of every image and centroid from what the bank holds of the read block.

    Args:
        tail: from the attention's output to the class token.
        values: (B, N, D), the block's values of the patches, heads side by side.
        attention: (B, heads, N), class-token row of its attention.
        mixed: (B, D), the class token's attention output.
        residual: (B, D), the class token that enters the block.
        centroids: (K, D).
        gradient_batch: P is divided by it, as the published code's mean over its batch did.
    """
    gradients = class_gradients(tail, mixed, residual, centroids)
    return maps_of(torch.bmm(gradients, values.transpose(1, 2)) / attention.shape[1], attention, gradient_batch)


def maps_of(gradient: Tensor, attention: Tensor, gradient_batch: int) -> Maps:
    """Maps from G (B, K, N), mean over heads, and the class token's attention (B, heads, N)."""
    mean = attention.mean(1)
    base = mean / mean.amax(-1, keepdim=True)
    push = (-gradient).clamp(min=0) / gradient_batch
    push = torch.where(heaviest(push), push, 0.0)
    return Maps(base, torch.where(gradient > 0, ZERO, push))
