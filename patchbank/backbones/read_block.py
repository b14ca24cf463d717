"""What the class token's gradients need of the read block. Shapes the values of banks (`patchbank.bank.identity`).

Read by hooks beside an ordinary forward pass, so that the encoder itself knows nothing of it;
`patchbank.backbones.tail` has the rest of the block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from patchbank.backbones.vit import Encoded, FrozenViT


@dataclass(frozen=True)
class ReadBlock:
    """Values and class token of the block that is read, all float32.

    Attributes:
        values: (B, N, D) values of the patches, heads side by side.
        mixed: (B, D) the class token's attention output before the projection, over all tokens.
        residual: (B, D) the class token that enters the block.
    """

    values: Tensor
    mixed: Tensor
    residual: Tensor


def encode_block(vit: FrozenViT, inputs: Tensor) -> tuple[Encoded, ReadBlock]:
    """Encode normalised inputs (B, 3, H, W) and keep what the read block computed on the way."""
    block: Any = vit.model.blocks[-1]
    kept: dict[str, Tensor] = {}

    def keep_residual(_module: Any, given: tuple[Tensor, ...]) -> None:
        kept["residual"] = given[0][:, 0]

    def keep_values(_module: Any, _given: tuple[Tensor, ...], qkv: Tensor) -> None:
        kept["values"] = qkv[:, vit.prefix :].chunk(3, -1)[2]

    def keep_mixed(_module: Any, given: tuple[Tensor, ...]) -> None:
        kept["mixed"] = given[0][:, 0]

    hooks = (
        block.register_forward_pre_hook(keep_residual),
        vit.attention.qkv.register_forward_hook(keep_values),
        vit.attention.proj.register_forward_pre_hook(keep_mixed),
    )
    try:
        encoded = vit(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return encoded, ReadBlock(**{name: value.float() for name, value in kept.items()})
