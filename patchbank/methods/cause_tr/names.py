"""The decoder's parameters under the names of the public code, and back.

| published | ours |
|---|---|
| `query_pos` (N, D) | `positions` |
| `tr.self_attn.in_proj_{weight,bias}` (3 D, ...) | `among_queries.query`, `.key`, `.value` |
| `tr.self_attn.out_proj.*` | `among_queries.out` |
| `tr.multihead_attn.*`, as `self_attn` | `over_tokens` |
| `tr.linear1`, `tr.linear2` | `widen`, `narrow` |
| `tr.norm1` to `tr.norm3` | `norms.0` to `norms.2` |
| `tr.f1`, `tr.f2.0`, `tr.f2.2` (1x1 convolutions) | `codes.direct`, `codes.hidden`, `codes.out` |

Our keys have no bias, which would change nothing: the published one is left out, and written as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

ATTENTION = {"among_queries": "tr.self_attn", "over_tokens": "tr.multihead_attn"}
PARTS = ("query", "key", "value")
LAYERS = {
    "among_queries.out": "tr.self_attn.out_proj",
    "over_tokens.out": "tr.multihead_attn.out_proj",
    "widen": "tr.linear1",
    "narrow": "tr.linear2",
    "norms.0": "tr.norm1",
    "norms.1": "tr.norm2",
    "norms.2": "tr.norm3",
    "codes.direct": "tr.f1",
    "codes.hidden": "tr.f2.0",
    "codes.out": "tr.f2.2",
}
KINDS = ("weight", "bias")


def ours_of(published: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """Our parameters, without the codebook, from a function that returns the published one of a name."""
    found = {"positions": published("query_pos")}
    for own, theirs in ATTENTION.items():
        for kind in KINDS:
            for part, values in zip(PARTS, published(f"{theirs}.in_proj_{kind}").chunk(3), strict=True):
                if (part, kind) != ("key", "bias"):
                    found[f"{own}.{part}.{kind}"] = values
    for own, theirs in LAYERS.items():
        weight = published(f"{theirs}.weight")
        found[f"{own}.weight"] = weight.flatten(1) if weight.ndim > 1 else weight
        found[f"{own}.bias"] = published(f"{theirs}.bias")
    return found


def theirs_of(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values, or their gradients, under published names and in published shapes."""
    found = {"query_pos": own["positions"]}
    for ours, theirs in ATTENTION.items():
        found[f"{theirs}.in_proj_weight"] = torch.cat([own[f"{ours}.{part}.weight"] for part in PARTS])
        queries, values = own[f"{ours}.query.bias"], own[f"{ours}.value.bias"]
        found[f"{theirs}.in_proj_bias"] = torch.cat([queries, torch.zeros_like(queries), values])
    for ours, theirs in LAYERS.items():
        weight = own[f"{ours}.weight"]
        found[f"{theirs}.weight"] = weight[..., None, None] if ours.startswith("codes.") else weight
        found[f"{theirs}.bias"] = own[f"{ours}.bias"]
    return found
