"""`foreground-kmeans` on tokens that come from no bank: the clusters of the smallest K and seed that were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from patchbank.bank.centring import EPSILON
from patchbank.checkpoints.store import load_arrays
from patchbank.errors import UserError
from patchbank.methods.foreground_kmeans.clusters import Fitted
from patchbank.methods.tools.foreground_split import has_split
from patchbank.variants import k_and_seed


class Inference(nn.Module):
    """A trained split with its clusters.

    Args:
        path: of the checkpoint.

    Attributes:
        record: of the checkpoint, with the variant as the first of `variants`.
        dim: width D of the tokens that it reads.
        segments: number K of clusters, the background among them.

    Raises:
        UserError: a checkpoint of another method.
    """

    shift: Tensor
    direction: Tensor
    token_shift: Tensor
    matrix: Tensor
    centroids: Tensor

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        arrays, record = load_arrays(path)
        if not has_split(arrays):
            raise UserError(f"{path} holds no split into foreground and background; train the row again.")
        self._fitted = Fitted.from_arrays(arrays)
        self._variant = min(self._fitted.centroids, key=k_and_seed)
        split, projection = self._fitted.split, self._fitted.projection
        centroids = self._fitted.centroids[self._variant]
        buffers = {
            "shift": split.shift,
            "direction": split.direction,
            "token_shift": projection.shift,
            "matrix": projection.matrix,
            "centroids": centroids,
        }
        for name, array in buffers.items():
            self.register_buffer(name, torch.from_numpy(array.copy()))
        self.dim, self.segments = len(split.shift), len(centroids) + 1
        self.record: Mapping[str, Any] = {**record, "variants": [[self._variant, self.segments]]}

    def scores(self, tokens: Tensor) -> Tensor:
        """Scores (B, K, N) float32 of tokens (B, N, D), exactly as stage `predict` computes them."""
        images = [self._fitted.scores(self._variant, image) for image in tokens.cpu().numpy()]
        return torch.from_numpy(np.stack(images))

    def forward(self, tokens: Tensor) -> Tensor:
        """The same of float32 tokens, in plain operations; `UserError` where each image has a threshold of its own."""
        split = self._fitted.split
        if split.threshold is None:
            raise UserError("threshold: image searches one in every image, which ONNX cannot say; train with set.")
        margins = (tokens - self.shift) @ self.direction / split.scale - split.threshold
        inside = (margins > 0).float()
        count = inside.sum(1, keepdim=True)
        mean = (inside[:, None] @ tokens)[:, 0] / count.clamp(min=1)
        embedding = normalize((mean - self.token_shift) @ self.matrix, dim=-1, eps=EPSILON)
        near = embedding @ self.centroids.T
        near = near if self._fitted.spherical else near - 0.5 * (self.centroids**2).sum(1)
        near = near * (count > 0)
        behind = near - near.max(1, keepdim=True).values
        return torch.cat([torch.zeros_like(margins)[:, None], margins[:, None] + behind[..., None]], 1)


def load(path: str | Path) -> Inference:
    """The clusters of a checkpoint."""
    return Inference(path)
