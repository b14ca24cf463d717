"""Weighted sums of frozen tokens, without keys, values or normalised copies of them.

Two operations read the tokens in a training step, each once forward and once backward: the attention of the queries
(`attention_pool`) and the assignment of patches to queries (`assignment_pool`). Tokens are frozen, so no gradient
reaches them. On a CPU both work through a few crops at a time, so that the second product of a pass finds its tokens
in the cache; this is why a step is bound by arithmetic, not by memory.

Shapes: C crops, N patches of a crop, D width, R rows of probes (heads x queries), Q queries. All float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

CACHED_VALUES = 1 << 21
"""Token values worked on at a time on a CPU (8 MB in float32)."""


def slices(tokens: Tensor) -> Iterator[slice]:
    """Ranges of crops that are worked on together: a cacheful on a CPU, everything elsewhere."""
    count = len(tokens)
    size = max(1, CACHED_VALUES // tokens[0].numel()) if tokens.device.type == "cpu" else count
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


class _AttentionPool(Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, probes: Tensor) -> Tensor:
        count, patches, dim = tokens.shape
        rows = probes.shape[1]
        weights, pooled = tokens.new_empty(count, rows, patches), tokens.new_empty(count, rows, dim)
        every = probes.expand(count, -1, -1)
        for part in slices(tokens):
            block = tokens[part]
            weights[part] = torch.softmax(torch.bmm(every[part], block.transpose(1, 2)), dim=-1)
            torch.bmm(weights[part], block, out=pooled[part])
        ctx.save_for_backward(tokens, weights, pooled)
        ctx.shared = len(probes) == 1 and count > 1
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        tokens, weights, pooled = ctx.saved_tensors
        by_probe = torch.empty_like(pooled)
        # softmax: d logit = w (d w - sum w d w), and the sum over patches is <gradient, pooled>
        common = (gradient * pooled).sum(-1, keepdim=True)
        for part in slices(tokens):
            block = tokens[part]
            by_weight = torch.bmm(gradient[part], block.transpose(1, 2))
            torch.bmm(by_weight.sub_(common[part]).mul_(weights[part]), block, out=by_probe[part])
        return None, by_probe.sum(0, keepdim=True) if ctx.shared else by_probe


def attention_pool(tokens: Tensor, probes: Tensor) -> Tensor:
    """Sum of tokens, weighted by the softmax over patches of <token, probe>.

    Args:
        tokens: (C, N, D), frozen: gets no gradient.
        probes: (C, R, D), or (1, R, D) for the same probes in every crop.

    Returns:
        (C, R, D).
    """
    result: Tensor = _AttentionPool.apply(tokens, probes)
    return result


class _AssignmentPool(Function):
    @staticmethod
    def forward(
        ctx: Any, tokens: Tensor, inverse_norms: Tensor, mask: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count, patches, dim = tokens.shape
        rows = queries.shape[1]
        cosines, assigned = tokens.new_empty(count, rows, patches), tokens.new_empty(count, rows, patches)
        # one more row, the mean of all patches, costs next to nothing in the same product
        weights, pooled = tokens.new_empty(count, rows + 1, patches), tokens.new_empty(count, rows + 1, dim)
        scale, keep = inverse_norms[:, None], mask[:, None]
        torch.div(inverse_norms, patches, out=weights[:, rows])
        for part in slices(tokens):
            block = tokens[part]
            cosines[part] = torch.bmm(queries[part], block.transpose(1, 2)).mul_(scale[part])
            assigned[part] = torch.softmax(cosines[part].clamp(min=0), dim=1)
            torch.mul(assigned[part], keep[part] * scale[part], out=weights[part, :rows])
            torch.bmm(weights[part], block, out=pooled[part])
        ctx.save_for_backward(tokens, inverse_norms, mask, queries, cosines, assigned)
        means = pooled[:, rows].clone()
        ctx.mark_non_differentiable(means, cosines)
        return pooled[:, :rows].clone(), torch.bmm(assigned, mask[:, :, None])[..., 0], means, cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_pooled: Tensor, by_mass: Tensor, *_: Any) -> tuple[None, None, None, Tensor]:
        tokens, inverse_norms, mask, queries, cosines, assigned = ctx.saved_tensors
        by_query = torch.empty_like(queries)
        scale, keep = inverse_norms[:, None], mask[:, None]
        for part in slices(tokens):
            block, weight = tokens[part], assigned[part]
            by_assigned = torch.bmm(by_pooled[part], block.transpose(1, 2)).mul_(scale[part])
            by_assigned.add_(by_mass[part][..., None]).mul_(keep[part]).mul_(weight)
            by_cosine = by_assigned.sub_(weight * by_assigned.sum(1, keepdim=True))
            by_cosine.mul_(cosines[part] >= 0).mul_(scale[part])
            torch.bmm(by_cosine, block, out=by_query[part])
        return None, None, None, by_query


def assignment_pool(
    tokens: Tensor, inverse_norms: Tensor, mask: Tensor, queries: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Per query the sum of normalised foreground tokens, weighted by how much each patch is assigned to the query.

    The assignment a[n, q] is the softmax over queries of the cosine of patch n and query q, negative ones set to 0.

    Args:
        tokens: (C, N, D), frozen: gets no gradient.
        inverse_norms: (C, N), 1 / length of each token.
        mask: (C, N), 1 where the patch counts, else 0.
        queries: (C, Q, D) of length 1.

    Returns:
        pooled (C, Q, D), sum over n of mask a[n, q] token_n / |token_n|;
        mass (C, Q), sum over n of mask a[n, q];
        means (C, D), mean of token_n / |token_n| over ALL patches, without gradient;
        cosines (C, Q, N), without gradient.
    """
    result: tuple[Tensor, Tensor, Tensor, Tensor] = _AssignmentPool.apply(tokens, inverse_norms, mask, queries)
    return result


def prepare_tokens(stored: Tensor, out: Tensor, shift: Tensor | None = None, scale: Tensor | None = None) -> Tensor:
    """Convert stored tokens to float32 in `out`, centre them there, and measure them in the same pass.

    Args:
        stored: (C, N, D) float16 or float32.
        out: (C, N, D) float32, overwritten with (stored - shift) * scale.
        shift: (D,) float32, or None.
        scale: (D,) float32, or None.

    Returns:
        inverse norms (C, N), 1 / max(length, 1e-10).
    """
    inverse_norms = out.new_empty(out.shape[:2])
    for part in slices(out):
        block = out[part]
        block.copy_(stored[part], non_blocking=True)
        if shift is not None:
            block.sub_(shift)
        if scale is not None:
            block.mul_(scale)
        inverse_norms[part] = torch.linalg.vector_norm(block, dim=-1).clamp_(min=1e-10).reciprocal_()
    return inverse_norms
