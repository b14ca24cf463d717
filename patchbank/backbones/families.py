"""What families of timm models differ in: how tokens enter the first block. Shapes the values of banks.

See `patchbank.bank.identity`. A family is told by the class of its models (`patchbank.weights.readable`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from patchbank.errors import UserError


class Family(Protocol):
    """From patch embeddings to the tokens that enter the first block, and from block to block."""

    def start(self, model: Any, x: Tensor) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Patch embeddings (B, h, w, D) -> tokens (B, P + N, D), and each block's rotary position embedding."""
        ...

    def step(self, block: Any, x: Tensor, rope: Tensor | None) -> Tensor:
        """Tokens after a block."""
        ...


class VisionTransformerFamily:
    """timm's `VisionTransformer`: DINO, DINOv2, TIPSv2, RADIO, SigLIP, CLIP, MAE, DeiT, AIMv2...

    Args:
        pos_embed: how position embeddings are resized (`BackboneSpec`).
    """

    def __init__(self, pos_embed: str) -> None:
        self._dino = pos_embed == "dino"

    def start(self, model: Any, x: Tensor) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Tokens, and no rotary position embedding."""
        x = dino_position(model, x) if self._dino else model._pos_embed(x)
        return model.norm_pre(model.patch_drop(x)), [None] * len(model.blocks)

    def step(self, block: Any, x: Tensor, rope: Tensor | None) -> Tensor:
        """Tokens after a block."""
        result: Tensor = block(x)
        return result


class EvaFamily:
    """timm's `Eva`: DINOv3, Perception Encoder, EVA, EVA02, RoPE-ViT, Sapiens2...

    A block that is called without its rotary position embedding runs without any position, and without an error.
    """

    def start(self, model: Any, x: Tensor) -> tuple[Tensor, Sequence[Tensor | None]]:
        """Tokens, and the rotary position embedding: one for all blocks, one a block, or none."""
        x, rope = model._pos_embed(x)
        count = len(model.blocks)
        ropes = [rope[i] for i in range(count)] if model.rope_mixed and rope is not None else [rope] * count
        return model.norm_pre(x), ropes

    def step(self, block: Any, x: Tensor, rope: Tensor | None) -> Tensor:
        """Tokens after a block."""
        result: Tensor = block(x, rope=rope)
        return result


def family_of(model: Any, name: str, pos_embed: str) -> Family:
    """The family of a readable model.

    Raises:
        UserError: DINO's rule for position embeddings is asked of a model that has none of its kind.
    """
    kind = type(model).__name__
    learned = kind == "VisionTransformer" and model.pos_embed is not None and model.cls_token is not None
    if pos_embed == "dino" and not learned:
        raise UserError(f"{name}: pos_embed is dino, which is for learned positions and a class token; use timm.")
    return EvaFamily() if kind == "Eva" else VisionTransformerFamily(pos_embed)


def dino_position(model: Any, x: Tensor) -> Tensor:
    """Patch embeddings (B, h, w, D) -> tokens with prefix, positions resized as the published DINO code does."""
    batch, h, w, dim = x.shape
    classes = 0 if model.no_embed_class else int(model.num_prefix_tokens)
    stored = model.pos_embed.float()
    prefix, patches = stored[:, :classes], stored[:, classes:]
    side = round(patches.shape[1] ** 0.5)
    if (h, w) != (side, side):
        grid = patches.reshape(1, side, side, dim).permute(0, 3, 1, 2)
        grid = interpolate(grid, scale_factor=((h + 0.1) / side, (w + 0.1) / side), mode="bicubic")
        if grid.shape[-2:] != (h, w):
            raise UserError(f"pos_embed: dino gives a grid of {tuple(grid.shape[-2:])} instead of {(h, w)}; use timm.")
        patches = grid.permute(0, 2, 3, 1).reshape(1, h * w, dim)
    x = x.reshape(batch, h * w, dim)
    tokens = [model.cls_token.expand(batch, -1, -1)]
    if model.reg_token is not None:
        tokens.append(model.reg_token.expand(batch, -1, -1))
    if classes:
        return torch.cat([*tokens, x], 1) + torch.cat([prefix, patches], 1).to(x.dtype)
    return torch.cat([*tokens, x + patches.to(x.dtype)], 1)
