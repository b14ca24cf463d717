"""What an encoder is to everything after it: images in, tokens and what belongs to them out.

Views, banks, methods and inference know this seam and nothing of timm; `patchbank.backbones.vit` is the encoder that
there is, `patchbank.backbones.families` what its models differ in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from patchbank.weights.spec import BackboneSpec, Read

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Encoded:
    """What one forward pass says of a batch at one block, all float32.

    Register tokens, and class tokens of other teachers, are in none of these.

    Attributes:
        tokens: (B, N, D) patch tokens, row-major over the patch grid.
        cls: (B, D) class token, with the final norm if the backbone's specification asks for it; None where the model
            has no class token.
        cls_attention: (B, heads, N) softmax attention of the class token to the patches (part of a row of sum 1); None
            where the model has no class token.
    """

    tokens: Tensor
    cls: Tensor | None
    cls_attention: Tensor | None


@dataclass(frozen=True)
class ReadBlock:
    """What the class token's gradients need of the block that is read, all float32.

    Attributes:
        values: (B, N, D) values of the patches, heads side by side.
        mixed: (B, D) the class token's attention output before the projection, over all tokens.
        residual: (B, D) the class token that enters the block.
    """

    values: Tensor
    mixed: Tensor
    residual: Tensor


class Encoder(Protocol):
    """A frozen encoder.

    Attributes:
        spec: its entry in the configuration.
        model: the frozen module up to the deepest block that is read; nothing outside this room looks into it.
        block: 0-based index of the block that is read.
        read: the same, and whether with the final norm.
        blocks: all that `at_blocks` reads, in their order.
        device, dtype: of the forward pass.
        patch: side of a patch in pixels.
        dim: width D of a token.
        heads: attention heads of the block that is read.
        prefix: tokens before those of the patches: class token, registers.
        class_token: whether the first of them is a class token.
    """

    spec: BackboneSpec
    model: torch.nn.Module
    block: int
    read: Read
    blocks: list[Read]
    device: torch.device
    dtype: torch.dtype
    patch: int
    dim: int
    heads: int
    prefix: int
    class_token: bool

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the patch grid of an input of that size in pixels."""
        ...

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB (B, H, W, 3) -> normalised input (B, 3, H, W) in the encoder's dtype, on its device."""
        ...

    def __call__(self, inputs: Tensor) -> Encoded:
        """Encode normalised inputs (B, 3, H, W); H and W must be multiples of the patch."""
        ...

    def at_blocks(self, inputs: Tensor) -> dict[Read, Encoded]:
        """The same wherever the encoder was made to be read, in one pass."""
        ...

    def read_block(self, inputs: Tensor) -> tuple[Encoded, ReadBlock]:
        """Encode, and keep what the class token's gradients need; `UserError` without a class token."""
        ...
