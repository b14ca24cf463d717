"""A frozen timm ViT, read at one block: patch tokens, class token and per-head class-token attention.

Shapes the values of banks (`patchbank.bank.identity`).

The encoder runs only up to the block that is read. Attention is the class-token row of that block's softmax attention,
patch columns only (register tokens are left out of tokens and attention). See Caron et al. 2021 (DINO),
https://arxiv.org/abs/2104.14294, for the attention maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from patchbank.errors import UserError
from patchbank.weights.model import build_model, load_weights
from patchbank.weights.spec import BackboneSpec

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Encoded:
    """What one forward pass says of a batch, all float32.

    Attributes:
        tokens: (B, N, D) patch tokens, row-major over the patch grid.
        cls: (B, D) class token, with the final norm if the backbone's specification asks for it.
        cls_attention: (B, heads, N) softmax attention of the class token to the patches (part of a row of sum 1).
    """

    tokens: Tensor
    cls: Tensor
    cls_attention: Tensor


class FrozenViT:
    """The frozen encoder of a `BackboneSpec`.

    Args:
        spec: which model, block, norm and position embeddings.
        weights: `weights.safetensors` of the weights stage; None leaves the random initialisation (tests).
        device: torch device, default CUDA where there is one.
        precision: dtype of weights and activations; outputs are always float32.
    """

    def __init__(
        self,
        spec: BackboneSpec,
        weights: str | Path | None,
        device: str | torch.device | None = None,
        precision: Precision = "float32",
    ) -> None:
        model: Any = build_model(spec.model)
        if weights is not None:
            model.load_state_dict(load_weights(weights), strict=True)
        depth = len(model.blocks)
        self.block = spec.block + depth if spec.block < 0 else spec.block
        if not 0 <= self.block < depth:
            raise UserError(
                f"Backbone {spec.name!r}: block {spec.block} does not exist, {spec.model} has 0..{depth - 1}."
            )
        model.blocks = model.blocks[: self.block + 1]
        self.spec = spec
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype: torch.dtype = getattr(torch, precision)
        self.model = model.to(self.device, self.dtype).requires_grad_(False)
        self.patch: int = int(model.patch_embed.patch_size[0])
        self.dim: int = int(model.embed_dim)
        self.prefix: int = int(model.num_prefix_tokens)
        self.attention: Any = model.blocks[-1].attn
        self.heads: int = int(self.attention.num_heads)
        self._qkv: Tensor | None = None
        self.attention.qkv.register_forward_hook(self._keep_qkv)
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
        height, width = inputs.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ValueError(f"input of {height}x{width} pixels is not a multiple of the patch ({self.patch})")
        model: Any = self.model
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # a convolution; float32 means float32
            x = model.patch_embed(inputs.to(self.device, self.dtype))
        x = model._pos_embed(x) if self.spec.pos_embed == "timm" else self._dino_position(x)
        x = model.norm_pre(model.patch_drop(x))
        for block in model.blocks:
            x = block(x)
        attention = self._class_attention()
        if self.spec.norm:
            x = model.norm(x)
        x = x.float()
        return Encoded(tokens=x[:, self.prefix :], cls=x[:, 0], cls_attention=attention)

    def _keep_qkv(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._qkv = output

    def _class_attention(self) -> Tensor:
        """Class-token row of the read block's attention from its kept q and k, float32 (B, heads, N)."""
        assert self._qkv is not None
        batch, count, _ = self._qkv.shape
        qkv = self._qkv.view(batch, count, 3, self.heads, -1)
        self._qkv = None
        query = self.attention.q_norm(qkv[:, 0, 0]).float()
        key = self.attention.k_norm(qkv[:, :, 1]).float()
        logits = torch.einsum("bhd,bnhd->bhn", query * float(self.attention.scale), key)
        return logits.softmax(-1)[..., self.prefix :]

    def _dino_position(self, x: Tensor) -> Tensor:
        """Patch embeddings (B, h, w, D) -> tokens with prefix, positions resized as the published DINO code does."""
        model: Any = self.model
        batch, h, w, dim = x.shape
        classes = 0 if model.no_embed_class else self.prefix
        stored = model.pos_embed.float()
        prefix, patches = stored[:, :classes], stored[:, classes:]
        side = round(patches.shape[1] ** 0.5)
        if (h, w) != (side, side):
            grid = patches.reshape(1, side, side, dim).permute(0, 3, 1, 2)
            grid = interpolate(grid, scale_factor=((h + 0.1) / side, (w + 0.1) / side), mode="bicubic")
            if grid.shape[-2:] != (h, w):
                raise UserError(
                    f"pos_embed: dino gives a grid of {tuple(grid.shape[-2:])} instead of {(h, w)}; use timm."
                )
            patches = grid.permute(0, 2, 3, 1).reshape(1, h * w, dim)
        x = x.reshape(batch, h * w, dim)
        tokens = [model.cls_token.expand(batch, -1, -1)]
        if model.reg_token is not None:
            tokens.append(model.reg_token.expand(batch, -1, -1))
        if classes:
            return torch.cat([*tokens, x], 1) + torch.cat([prefix, patches], 1).to(x.dtype)
        return torch.cat([*tokens, x + patches.to(x.dtype)], 1)
