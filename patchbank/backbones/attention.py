"""What one block's attention computes on the way of a forward pass, kept by hooks. Shapes the values of banks.

See `patchbank.bank.identity`. timm's `Attention`, `AttentionRope` and `EvaAttention` call `q_norm` and `k_norm` on
queries and keys (B, heads, N, d) whether they normalise, fuse the three projections, fuse the softmax, or not. Rotary
position embeddings are applied after that, to the patches alone: the class token's query is not rotated, keys are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear


class KeptAttention:
    """Class-token row of a block's softmax attention, made without the N x N matrix.

    Args:
        attention: the timm module.
        prefix: tokens before those of the patches, the class token first.
    """

    def __init__(self, attention: Any, prefix: int) -> None:
        self._attention, self._prefix = attention, prefix
        self._kept: dict[str, Tensor | None] = {}
        attention.register_forward_pre_hook(self._keep_rope, with_kwargs=True)
        attention.q_norm.register_forward_hook(self._keep_query)
        attention.k_norm.register_forward_hook(self._keep_keys)

    def row(self) -> Tensor:
        """Softmax over all tokens, patch columns of it: (B, heads, N) float32 of the last forward pass."""
        query, keys, rope = (self._kept.pop(name) for name in ("query", "keys", "rope"))
        assert query is not None
        assert keys is not None
        if rope is not None:
            keys = self._rotate(keys, rope)
        groups = query.shape[1] // keys.shape[1]
        if groups > 1:
            keys = keys.repeat_interleave(groups, dim=1)
        scaled = query.float() * float(self._attention.scale)
        logits = torch.einsum("bhd,bnhd->bhn", scaled, keys.transpose(1, 2).float())
        return logits.softmax(-1)[..., self._prefix :]

    def _rotate(self, keys: Tensor, rope: Tensor) -> Tensor:
        from timm.layers.pos_embed_sincos import apply_rot_embed_cat

        plain, patches = keys[:, :, : self._prefix], keys[:, :, self._prefix :]
        turned: Tensor = apply_rot_embed_cat(patches, rope, half=self._attention.rotate_half)
        return torch.cat([plain, turned.to(keys.dtype)], dim=2)

    def _keep_rope(self, _module: Any, _given: Any, named: dict[str, Any]) -> None:
        self._kept["rope"] = named.get("rope")

    def _keep_query(self, _module: Any, _given: Any, queries: Tensor) -> None:
        self._kept["query"] = queries[:, :, 0]

    def _keep_keys(self, _module: Any, _given: Any, keys: Tensor) -> None:
        self._kept["keys"] = keys


class KeptValues:
    """Values of the patches, and the class token's attention output; `close` takes the hooks away.

    Args:
        attention: the timm module.
        prefix: tokens before those of the patches, the class token first.
    """

    def __init__(self, attention: Any, prefix: int) -> None:
        self._attention, self._prefix = attention, prefix
        self.kept: dict[str, Tensor] = {}
        self._hooks = [attention.proj.register_forward_pre_hook(self._keep_mixed)]
        if attention.qkv is None:
            self._hooks.append(attention.v_proj.register_forward_hook(self._keep_grouped))
        elif getattr(attention, "q_bias", None) is None:
            self._hooks.append(attention.qkv.register_forward_hook(self._keep_third))
        else:  # its projection is not called as a module
            self._hooks.append(attention.register_forward_pre_hook(self._compute))

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def _keep_mixed(self, _module: Any, given: tuple[Tensor, ...]) -> None:
        self.kept["mixed"] = given[0][:, 0]

    def _keep_third(self, _module: Any, _given: Any, qkv: Tensor) -> None:
        self.kept["values"] = qkv[:, self._prefix :].chunk(3, -1)[2]

    def _keep_grouped(self, _module: Any, _given: Any, values: Tensor) -> None:
        attention, patches = self._attention, values[:, self._prefix :]
        heads = patches.reshape(*patches.shape[:2], -1, attention.head_dim)
        self.kept["values"] = heads.repeat_interleave(attention.num_heads // heads.shape[2], dim=2).flatten(2)

    def _compute(self, _module: Any, given: tuple[Tensor, ...]) -> None:
        weight = self._attention.qkv.weight.chunk(3)[2]
        self.kept["values"] = linear(given[0][:, self._prefix :], weight, self._attention.v_bias)
