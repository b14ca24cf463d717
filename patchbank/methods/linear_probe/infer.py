"""The linear probe on tokens that come from no bank: the classes that it learned from labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from patchbank.errors import UserError
from patchbank.methods.tools.heads import load_own
from patchbank.predictions import class_variants

METHOD = "linear_probe"


class Inference(nn.Module):
    """A fitted layer, as `patchbank.methods.shape.TokenModel`.

    Args:
        path: of the checkpoint.

    Attributes:
        record: of the checkpoint, with the first variant of its predictions under `variants`.
        dim: width D of the tokens that it reads.
        segments: number C of classes.

    Raises:
        UserError: a checkpoint without a layer.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        tensors, record = load_own(path, METHOD)
        if not {"weight", "bias", "mean", "std"} <= set(tensors):
            raise UserError(f"{path} holds no layer of the linear probe; train the row again.")
        self.weight, self.bias, self.mean, self.std = (
            nn.Buffer(tensors[name]) for name in ("weight", "bias", "mean", "std")
        )
        self.segments, self.dim = self.weight.shape
        settings = record["settings"]
        variants = class_variants(settings["k"], settings["kmeans_seeds"][0], self.segments)
        self.record: Mapping[str, Any] = {**record, "variants": [list(next(iter(variants.items())))]}

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores (B, C, N) of tokens (B, N, D)."""
        points = (tokens - self.mean) / self.std
        scores: Tensor = points @ self.weight.T + self.bias
        return scores.transpose(1, 2)

    def scores(self, tokens: Tensor) -> Tensor:
        """The same of stored tokens."""
        return self.forward(tokens.float())


def load(path: str | Path) -> Inference:
    """The layer of a checkpoint."""
    return Inference(path)
