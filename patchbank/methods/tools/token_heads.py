"""The small head of STEGO, SmooSeg and CAUSE-MLP: from the token of one patch to its code.

    code = W1 d1(x) + b1 + W3 f(W2 d2(x) + b2) + b3

with W1, W3: D -> C, W2: D -> D, f ReLU (STEGO, CAUSE) or SiLU (SmooSeg). d1 and d2 are factors of dropout: of channels,
the same for all tokens of an image, or of single elements. They are drawn from the seed and the number of the step.

Source: STEGO, `modules.py`, https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from patchbank.seeds import derive

Activation = Literal["relu", "silu"]
NAMES = {"direct": "W1", "hidden": "W2", "out": "W3"}
"""The layers, as the formula calls them."""


class TokenHead(nn.Module):
    """Codes of tokens.

    Args:
        dim: width D of the tokens.
        width: width C of the codes.
        activation: f.
        seed: of the initial values, uniform within 1 / sqrt(D), as torch starts such layers.

    Example:
        >>> TokenHead(384, 70, "relu", 0)(torch.zeros(2, 256, 384)).shape
        torch.Size([2, 256, 70])
    """

    def __init__(self, dim: int, width: int, activation: Activation, seed: int) -> None:
        super().__init__()
        self.dim, self.width, self.activation = dim, width, activation
        self.direct, self.hidden, self.out = nn.Linear(dim, width), nn.Linear(dim, dim), nn.Linear(dim, width)
        rng = torch.Generator().manual_seed(derive("token head", seed))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-(dim**-0.5), dim**-0.5, generator=rng)

    def shape(self) -> dict[str, Any]:
        """JSON values: the arguments that make a head of this shape (`with_shape`)."""
        return {"dim": self.dim, "width": self.width, "activation": self.activation}

    def forward(self, tokens: Tensor, masks: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Codes (B, N, C) of tokens (B, N, D); `masks` are d1 and d2, (B, 1, D) or (B, N, D)."""
        first, second = (tokens, tokens) if masks is None else (tokens * masks[0], tokens * masks[1])
        hidden = self.hidden(second)
        hidden = functional.relu(hidden) if self.activation == "relu" else functional.silu(hidden)
        codes: Tensor = self.direct(first) + self.out(hidden)
        return codes


def with_shape(shape: Mapping[str, Any]) -> TokenHead:
    """A head as `TokenHead.shape` says, with values that are to be replaced."""
    return TokenHead(int(shape["dim"]), int(shape["width"]), shape["activation"], 0)


def dropout(rng: np.random.Generator, shape: tuple[int, ...], share: float, device: torch.device) -> Tensor:
    """Factors of dropout, 0 with probability `share`, else 1 / (1 - share), float32."""
    kept = rng.random(shape, dtype=np.float32) >= share
    return torch.from_numpy(kept).to(device).float() / (1 - share)


def from_published(weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Parameters of a `TokenHead` from layers of another name.

    Args:
        weights: published names -> tensors; 1x1 convolutions (out, in, 1, 1) are linear layers per token.
        names: `direct`, `hidden`, `out` -> published name of that layer.
    """
    return {
        f"{ours}.{kind}": weights[f"{theirs}.{kind}"].reshape(weights[f"{theirs}.{kind}"].shape[:2])
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }
