"""AlignSeg on tokens that come from no bank: what `patchbank.inference` asks of a method.

`load` reads a head; its `Inference` turns the tokens of images into scores in two forms, which agree up to rounding:
`scores` as stage `predict` computes them, `forward` of plain operations only, which can be written as ONNX.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from patchbank.methods.alignseg.head import Head, load_head
from patchbank.methods.alignseg.model import EPS
from patchbank.methods.alignseg.pooling import prepare_tokens


class Inference(nn.Module):
    """A head with its centring.

    Args:
        head: from `load_head`.

    Attributes:
        record: where the head comes from; `backbone` describes its encoder (None for an imported head).
        dim: width D of the tokens that it reads.
        segments: number Q of segments that it gives.
    """

    shift: Tensor | None
    scale: Tensor | None

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.record, self.dim, self.segments = head.record, head.model.dim, head.settings.queries
        self.decoder, self._head = head.model, head
        shift, scale = head.centring.shift_and_scale(torch.device("cpu"))
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.requires_grad_(False)

    def scores(self, tokens: Tensor) -> Tensor:
        """Scores (B, Q, N) float32, higher is better, of tokens (B, N, D), float16 as in a bank or float32."""
        centred = torch.empty_like(tokens, dtype=torch.float32)
        inverse_norms = prepare_tokens(tokens, centred, self.shift, self.scale)
        return self._head.scores(centred, inverse_norms)

    def forward(self, tokens: Tensor) -> Tensor:
        """The same scores (B, Q, N) of float32 tokens (B, N, D)."""
        centred = tokens if self.shift is None else tokens - self.shift
        centred = centred if self.scale is None else centred * self.scale
        inverse_norms = torch.linalg.vector_norm(centred, dim=-1).clamp(min=EPS).reciprocal()
        return self._head.scores(centred, inverse_norms, plain=True)


def load(path: str | Path) -> Inference:
    """Read a head for inference; `UserError` as `load_head` raises it."""
    return Inference(load_head(path))
