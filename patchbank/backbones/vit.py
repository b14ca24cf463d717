"""A frozen timm ViT, read at one or several blocks: patch tokens, class token and per-head class-token attention.

Shapes the values of banks (`patchbank.bank.identity`).

The encoder runs only up to the deepest block that is read. Attention is the class-token row of that block's softmax
attention, patch columns only (register tokens are left out of tokens and attention). See Caron et al. 2021 (DINO),
https://arxiv.org/abs/2104.14294, for the attention maps. Models without a class token have tokens alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from patchbank.backbones.attention import KeptAttention, KeptValues
from patchbank.backbones.encoder import Encoded, Precision, ReadBlock
from patchbank.backbones.families import family_of
from patchbank.errors import UserError
from patchbank.weights.model import build_model, load_weights
from patchbank.weights.spec import BackboneSpec, Read


class FrozenViT:
    """The frozen encoder of a `BackboneSpec` (`patchbank.backbones.encoder.Encoder`).

    Args:
        spec: which model, block, norm and position embeddings.
        weights: `weights.safetensors` of the weights stage; None leaves the random initialisation (tests).
        device: torch device, default CUDA where there is one.
        precision: dtype of weights and activations; outputs are always float32.
        blocks: where else `at_blocks` reads beside the specification's block.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        weights: str | Path | None,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
        blocks: Sequence[Read] = (),
    ) -> None:
        model: Any = build_model(spec.model)
        self._family = family_of(model, spec.model, spec.pos_embed)
        if weights is not None:
            model.load_state_dict(load_weights(weights), strict=True)
        depth = len(model.blocks)
        self.block = _block(spec, spec.block, depth)
        self.read = (self.block, spec.norm)
        self.blocks = sorted({self.read, *((_block(spec, block, depth), norm) for block, norm in blocks)})
        model.blocks = model.blocks[: self.blocks[-1][0] + 1]
        self.spec = spec
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype: torch.dtype = getattr(torch, precision)
        self.model = model.to(self.device, self.dtype).requires_grad_(False)
        self.patch: int = int(model.patch_embed.patch_size[0])
        self.dim: int = int(model.embed_dim)
        self.prefix: int = int(model.num_prefix_tokens)
        self.class_token: bool = model.cls_token is not None
        self.heads: int = int(model.blocks[self.block].attn.num_heads)
        kept = {block for block, _ in self.blocks} if self.class_token else ()
        self._rows = {block: KeptAttention(model.blocks[block].attn, self.prefix) for block in kept}
        self._mean = torch.tensor(spec.mean, device=self.device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(spec.std, device=self.device).view(1, 3, 1, 1) * 255

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the patch grid of an input of that size in pixels."""
        return height // self.patch, width // self.patch

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 RGB (B, H, W, 3) -> normalised input (B, 3, H, W) in the encoder's dtype, on its device."""
        pixels = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return ((pixels - self._mean) / self._std).to(self.dtype, memory_format=torch.contiguous_format)

    @torch.inference_mode()
    def __call__(self, inputs: Tensor) -> Encoded:
        """Encode normalised inputs (B, 3, H, W); H and W must be multiples of the patch."""
        return self._read(inputs, [self.read])[self.read]

    @torch.inference_mode()
    def at_blocks(self, inputs: Tensor) -> dict[Read, Encoded]:
        """Encode normalised inputs (B, 3, H, W) and read at all of `blocks`, in one pass."""
        return self._read(inputs, self.blocks)

    @torch.inference_mode()
    def read_block(self, inputs: Tensor) -> tuple[Encoded, ReadBlock]:
        """Encode, and keep what the class token's gradients need of the read block."""
        block: Any = self.model.blocks[self.block]
        kept: dict[str, Tensor] = {}

        def keep_residual(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            kept["residual"] = given[0][:, 0]

        residual, values = block.register_forward_pre_hook(keep_residual), KeptValues(block.attn, self.prefix)
        try:
            encoded = self._read(inputs, [self.read])[self.read]
        finally:
            residual.remove()
            values.close()
        return encoded, ReadBlock(**{name: value.float() for name, value in {**kept, **values.kept}.items()})

    def _read(self, inputs: Tensor, reads: Sequence[Read]) -> dict[Read, Encoded]:
        height, width = inputs.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ValueError(f"input of {height}x{width} pixels is not a multiple of the patch ({self.patch})")
        model: Any = self.model
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # a convolution; float32 means float32
            x = model.patch_embed(inputs.to(self.device, self.dtype))
        x, ropes = self._family.start(model, x)
        found = {}
        for index, block in enumerate(model.blocks[: reads[-1][0] + 1]):
            x = self._family.step(block, x, ropes[index])
            norms = [norm for at, norm in reads if at == index]
            attention = self._rows[index].row() if norms and self.class_token else None
            found.update({(index, norm): self._encoded(x, norm, attention) for norm in norms})
        return found

    def _encoded(self, x: Tensor, norm: bool, attention: Tensor | None) -> Encoded:
        """What is said of tokens (B, P + N, D) after a block."""
        x = (self.model.norm(x) if norm else x).float()
        return Encoded(x[:, self.prefix :], x[:, 0] if self.class_token else None, attention)


def _block(spec: BackboneSpec, block: int, depth: int) -> int:
    """A block's index, counted from the end where it is negative."""
    index = block + depth if block < 0 else block
    if not 0 <= index < depth:
        raise UserError(f"Backbone {spec.name!r}: block {block} does not exist, {spec.model} has 0..{depth - 1}.")
    return index
