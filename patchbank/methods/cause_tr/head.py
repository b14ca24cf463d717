"""The head of CAUSE-TR: one decoder layer, normalised after each part, whose queries are rows of the codebook.

For tokens x of a view, q the row of the codebook that is nearest to each (by cosine), p a learned position a patch:

    t = LN(q + attention(queries and keys q + p, values q))
    t = LN(t + attention(queries t + p, keys and values x))
    t = LN(t + W relu(W t))
    code = W1 d1(x + t) + W3 relu(W2 d2(x + t))

Attention has one head. In training, dropout takes single elements of the weights of attention, of each part before it
is added, inside the feed-forward part, and of d1 and d2.

There is no bias of keys: it adds the same to all logits of a query, and changes nothing.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from patchbank.methods.tools.cause.contrast import nearest_code
from patchbank.methods.tools.token_heads import TokenHead
from patchbank.seeds import derive


class Dropout:
    """Dropout of one run of a head: what it takes follows from a seed and the order of the calls.

    Args:
        share: of elements that are taken.
        seed: of the run.
        device: of what it is applied to.
    """

    def __init__(self, share: float, seed: int, device: torch.device) -> None:
        self._share, self._rng = share, torch.Generator(device).manual_seed(seed)

    def factors(self, values: Tensor) -> Tensor:
        """0 with probability `share`, else 1 / (1 - share), one for each of `values`."""
        kept = torch.rand(values.shape, generator=self._rng, device=values.device) >= self._share
        return kept.to(values.dtype) / (1 - self._share)

    def __call__(self, values: Tensor) -> Tensor:
        """The values with some taken."""
        return values * self.factors(values)


def dropped(values: Tensor, dropout: Dropout | None) -> Tensor:
    """The values after dropout, where there is one."""
    return values if dropout is None else dropout(values)


class Attention(nn.Module):
    """Attention with one head.

    Args:
        dim: width D of everything.
        rng: of the initial values, as torch's own layer of attention starts: Xavier over the three inner layers
            together, biases 0.
    """

    def __init__(self, dim: int, rng: torch.Generator) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.value, self.out = nn.Linear(dim, dim), nn.Linear(dim, dim)
        with torch.no_grad():
            for layer in (self.query, self.key, self.value, self.out):
                bound = dim**-0.5 if layer is self.out else (6 / (4 * dim)) ** 0.5
                layer.weight.uniform_(-bound, bound, generator=rng)
                if layer is not self.key:
                    layer.bias.zero_()

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, dropout: Dropout | None) -> Tensor:
        """(B, N, D) of queries (B, N, D), keys and values (B, J, D)."""
        scaled = self.query(queries) * queries.shape[-1] ** -0.5
        weights = (scaled @ self.key(keys).transpose(1, 2)).softmax(-1)
        out: Tensor = self.out(dropped(weights, dropout) @ self.value(values))
        return out


class DecoderHead(nn.Module):
    """Codes of all tokens of a view.

    Args:
        codebook: (M, D) rows, which nothing moves.
        patches: number N of patches.
        width: R of the codes.
        hidden: width of the feed-forward part.
        seed: of the initial values, as torch starts such layers; positions are standard normal.

    Example:
        >>> DecoderHead(torch.randn(256, 384), 1024, 90, 2048, 0)(torch.zeros(2, 1024, 384)).shape
        torch.Size([2, 1024, 90])
    """

    def __init__(self, codebook: Tensor, patches: int, width: int, hidden: int, seed: int) -> None:
        super().__init__()
        dim = codebook.shape[1]
        rng = torch.Generator().manual_seed(derive("decoder head", seed))
        self.dim, self.width = dim, width
        self.codebook = nn.Buffer(codebook.clone())
        self.positions = nn.Parameter(torch.randn(patches, dim, generator=rng))
        self.among_queries, self.over_tokens = Attention(dim, rng), Attention(dim, rng)
        self.widen, self.narrow = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(3)])
        self.codes = TokenHead(dim, width, "relu", seed)
        with torch.no_grad():
            for layer in (self.widen, self.narrow):
                for parameter in layer.parameters():
                    bound = layer.in_features**-0.5
                    parameter.uniform_(-bound, bound, generator=rng)

    def forward(self, tokens: Tensor, dropout: Dropout | None = None) -> Tensor:
        """Codes (B, N, R) of tokens (B, N, D)."""
        queries = self.codebook[nearest_code(tokens, self.codebook)]
        placed = queries + self.positions
        seen = self.norms[0](queries + dropped(self.among_queries(placed, placed, queries, dropout), dropout))
        seen = self.norms[1](seen + dropped(self.over_tokens(seen + self.positions, tokens, tokens, dropout), dropout))
        inside = dropped(functional.relu(self.widen(seen)), dropout)
        seen = tokens + self.norms[2](seen + dropped(self.narrow(inside), dropout))
        codes: Tensor = self.codes(seen, None if dropout is None else (dropout.factors(seen), dropout.factors(seen)))
        return codes
