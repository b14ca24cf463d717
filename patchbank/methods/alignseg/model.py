"""The query decoder: Q learnable queries look at the tokens of a crop and become its segments' prototypes.

Per layer, post-norm, no dropout, no positional encodings: cross attention of the queries to the tokens, self
attention among the queries, feed-forward Linear - ReLU - Linear; each plus its input, then LayerNorm (eps 1e-5).

Keys and values of the tokens are never formed: the logit of a token is its product with W_k^T q (the key bias adds
the same to every patch and cancels in the softmax), and the attended value is W_v times the weighted sum of tokens
plus the value bias (the weights sum to 1). `forward(tokens, plain=True)` is the textbook form; both agree up to
rounding, and only the plain one carries gradients to the tokens.

Source: AlignSeg, "Rethinking Self-Supervised Semantic Segmentation: Achieving End-to-End Segmentation",
https://github.com/yliu1229/AlignSeg. In its code every layer starts again from the initial queries,
so that only the last one counts: ``decoder="reference"``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchbank.methods.alignseg.pooling import attention_pool
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.seeds import derive

EPS = 1e-10
"""Smallest length that a vector is divided by."""


def normalise(vectors: Tensor) -> Tensor:
    """`vectors` (..., D) divided by max(length, 1e-10)."""
    return functional.normalize(vectors, dim=-1, eps=EPS)


class Attention(nn.Module):
    """Multi-head attention with one joint projection, as torch's own stores it: rows are query, key, value."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.dim, self.heads = dim, heads
        self.in_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_bias = nn.Parameter(torch.empty(3 * dim))
        self.out = nn.Linear(dim, dim)

    def _split(self, rows: Tensor) -> Tensor:
        """(C, R, D) -> (C, heads, R, D / heads)."""
        return rows.view(*rows.shape[:2], self.heads, self.dim // self.heads).transpose(1, 2)

    def plain(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Attention of queries (C, Q, D) to tokens (C, N, D) through keys and values -> (C, Q, D)."""
        weights, biases = self.in_weight.chunk(3), self.in_bias.chunk(3)
        q, k, v = (
            self._split(functional.linear(rows, weight, bias))
            for rows, weight, bias in zip((queries, tokens, tokens), weights, biases, strict=True)
        )
        mixed = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result

    def itself(self, queries: Tensor) -> Tensor:
        """Attention of queries (C, Q, D) among themselves -> (C, Q, D)."""
        q, k, v = (self._split(part) for part in functional.linear(queries, self.in_weight, self.in_bias).chunk(3, -1))
        mixed = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result

    def reassociated(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """As `plain`, without keys and values; queries may be (1, Q, D), the same for every crop."""
        to_query, to_key, to_value = self.in_weight.chunk(3)
        width = self.dim // self.heads
        q = self._split(functional.linear(queries, to_query, self.in_bias[: self.dim]))
        probes = (q @ to_key.view(self.heads, width, self.dim)) * width**-0.5
        pooled = attention_pool(tokens, probes.flatten(1, 2)).view(-1, self.heads, queries.shape[1], self.dim)
        mixed = torch.einsum("chqd,hed->cqhe", pooled, to_value.view(self.heads, width, self.dim)).flatten(2)
        result: Tensor = self.out(mixed + self.in_bias[2 * self.dim :])
        return result


class DecoderLayer(nn.Module):
    """Cross attention, self attention, feed-forward; each with its residual and LayerNorm."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.cross_attention = Attention(dim, heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, heads)
        self.self_norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.feed_norm = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, tokens: Tensor, plain: bool = False) -> Tensor:
        """Queries (C or 1, Q, D) and tokens (C, N, D) -> queries (C, Q, D)."""
        attend = self.cross_attention.plain if plain else self.cross_attention.reassociated
        queries = self.cross_norm(queries + attend(queries, tokens))
        queries = self.self_norm(queries + self.self_attention.itself(queries))
        result: Tensor = self.feed_norm(queries + self.contract(functional.relu(self.expand(queries))))
        return result


class QueryDecoder(nn.Module):
    """Queries that look at tokens.

    Args:
        dim: width D of the tokens.
        settings: queries, heads, layers, hidden, decoder.
        seed: of the initial values.

    Raises:
        UserError: the heads do not divide `dim`.
    """

    def __init__(self, dim: int, settings: AlignSegSettings, seed: int = 0) -> None:
        super().__init__()
        settings.check_width(dim)
        self.dim, self.stacked = dim, settings.decoder == "stacked"
        self.queries = nn.Parameter(torch.empty(settings.queries, dim))
        self.layers = nn.ModuleList(DecoderLayer(dim, settings.heads, settings.hidden) for _ in range(settings.layers))
        self._initialise(torch.Generator().manual_seed(derive("alignseg initial values", seed)))

    def _initialise(self, generator: torch.Generator) -> None:
        for name, parameter in self.named_parameters():
            if name == "queries":
                nn.init.normal_(parameter, generator=generator)
            elif name.endswith("in_weight"):
                nn.init.xavier_uniform_(parameter, generator=generator)
            elif parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=0.02, generator=generator)
            else:
                nn.init.constant_(parameter, 1.0 if name.endswith("norm.weight") else 0.0)

    def forward(self, tokens: Tensor, plain: bool = False) -> Tensor:
        """Queries of every crop.

        Args:
            tokens: (C, N, D) float32.
            plain: form keys and values (the textbook form, several times slower).

        Returns:
            (C, Q, D), not normalised.
        """
        queries = self.queries[None].expand(tokens.shape[0] if plain else 1, -1, -1)
        # the reference starts every layer from the initial queries: all but the last are dead
        for layer in self.layers if self.stacked else self.layers[-1:]:
            queries = layer(queries, tokens, plain)
        return queries
