"""The mask decoder: K class embeddings travel with the patch tokens through two transformer blocks.

Linear(D, D) on the patches; class embeddings appended after them; pre-norm blocks (q/k/v without bias, exact GELU);
LayerNorm; patches times P and classes times C, both L2-normalised; cosines of every patch with every class, normalised
by a LayerNorm over the classes. Every LayerNorm has eps 1e-5. Dropout .1 on attention weights, attention output, after
GELU and after the second linear, in training mode only.

Parameters carry the published names, so that its state dicts are read and written as they are (`head`).

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU; Strudel et al. 2021 (Segmenter), https://arxiv.org/abs/2105.05633.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchbank.methods.transfgu.settings import check_width
from patchbank.seeds import derive

DROPOUT = 0.1
RATIO = 4
"""Width of the MLP's hidden layer over D."""


class Attention(nn.Module):
    """Multi-head self attention; rows of `qkv` are query, key, value."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, D) -> (B, M, D)."""
        batch, count, dim = x.shape
        q, k, v = self.qkv(x).view(batch, count, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, dropout_p=DROPOUT if self.training else 0.0)
        result: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, dim))
        return functional.dropout(result, DROPOUT, self.training)


class MLP(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, RATIO * dim)
        self.fc2 = nn.Linear(RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, D) -> (B, M, D)."""
        hidden = functional.dropout(functional.gelu(self.fc1(x)), DROPOUT, self.training)
        return functional.dropout(self.fc2(hidden), DROPOUT, self.training)


class Block(nn.Module):
    """Attention and MLP, each on normalised input plus its residual."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim), MLP(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, M, D) -> (B, M, D)."""
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class MaskDecoder(nn.Module):
    """Scores of K classes for every patch.

    Args:
        dim: width D of the tokens.
        classes: K, background included.
        heads: attention heads; has to divide D.
        layers: number of blocks.
        seed: of the initial values.

    Raises:
        UserError: the heads do not divide `dim`.
    """

    def __init__(self, dim: int, classes: int, heads: int = 6, layers: int = 2, seed: int = 0) -> None:
        super().__init__()
        check_width({"heads": heads}, dim)
        self.dim, self.classes = dim, classes
        self.proj_dec = nn.Linear(dim, dim)
        self.cls_emb = nn.Parameter(torch.empty(1, classes, dim))
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.decoder_norm = nn.LayerNorm(dim)
        self.proj_patch = nn.Parameter(torch.empty(dim, dim))
        self.proj_classes = nn.Parameter(torch.empty(dim, dim))
        self.mask_norm = nn.LayerNorm(classes)
        self._initialise(torch.Generator().manual_seed(derive("transfgu initial values", seed)))

    def _initialise(self, generator: torch.Generator) -> None:
        for name, parameter in self.named_parameters():
            if name == "cls_emb":
                # one random direction of unit norm over all K * D values, not one a class
                direction = torch.randn(parameter.shape, generator=generator)
                parameter.data.copy_(direction / direction.norm())
            elif name in ("proj_patch", "proj_classes"):
                nn.init.normal_(parameter, std=self.dim**-0.5, generator=generator)
            elif parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
            else:
                nn.init.constant_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and class vectors of every image.

        Args:
            tokens: (B, N, D) float32.

        Returns:
            logits (B, N, K) and the class vectors that they compare with, (B, K, D) of unit length.
        """
        batch, count, _ = tokens.shape
        x = torch.cat([self.proj_dec(tokens), self.cls_emb.expand(batch, -1, -1)], 1)
        for block in self.blocks:
            x = block(x)
        x = self.decoder_norm(x)
        patches = functional.normalize(x[:, :count] @ self.proj_patch, dim=-1)
        classes = functional.normalize(x[:, count:] @ self.proj_classes, dim=-1)
        logits: Tensor = self.mask_norm(patches @ classes.transpose(1, 2))
        return logits, classes
