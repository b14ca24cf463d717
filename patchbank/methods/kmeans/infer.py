"""k-means of tokens on tokens that come from no bank: the clusters of the smallest K and seed that were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from patchbank.bank.centring import EPSILON
from patchbank.checkpoints.store import load_checkpoint
from patchbank.clustering.kmeans import scores
from patchbank.clustering.projection import Projection
from patchbank.errors import UserError
from patchbank.methods.kmeans.settings import TokenKMeansSettings
from patchbank.variants import is_variant, k_and_seed


class Inference(nn.Module):
    """Fitted centroids with their projection.

    Args:
        path: of the checkpoint.

    Attributes:
        record: of the checkpoint, with the variant as the first of `variants`.
        dim: width D of the tokens that it reads.
        segments: number K of clusters.

    Raises:
        UserError: a checkpoint without centroids.
    """

    shift: Tensor
    matrix: Tensor
    centroids: Tensor

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        tensors, record = load_checkpoint(path)
        names = sorted(filter(is_variant, tensors), key=k_and_seed)
        if not names or not {"shift", "matrix", "normalise"} <= set(tensors):
            raise UserError(f"{path} holds no centroids of k-means; train the row again.")
        centroids = tensors[names[0]]
        self.record: Mapping[str, Any] = {**record, "variants": [[names[0], len(centroids)]]}
        self._projection = Projection.from_arrays({name: tensor.numpy() for name, tensor in tensors.items()})
        self._spherical = TokenKMeansSettings.parse(record["settings"]).kmeans.spherical
        for name, tensor in (("shift", tensors["shift"]), ("matrix", tensors["matrix"]), ("centroids", centroids)):
            self.register_buffer(name, tensor.clone())
        self.dim, self.segments = len(self.shift), len(centroids)

    def scores(self, tokens: Tensor) -> Tensor:
        """Scores (B, K, N) float32 of tokens (B, N, D), exactly as stage `predict` computes them."""
        centroids = self.centroids.cpu().numpy()
        images = [scores(self._projection(image), centroids, self._spherical).T for image in tokens.cpu().numpy()]
        return torch.from_numpy(np.stack(images))

    def forward(self, tokens: Tensor) -> Tensor:
        """The same of float32 tokens, in plain operations."""
        points = (tokens - self.shift) @ self.matrix
        points = normalize(points, dim=-1, eps=EPSILON) if self._projection.normalise else points
        products = points @ self.centroids.T
        products = products if self._spherical else products - 0.5 * (self.centroids**2).sum(1)
        return products.transpose(1, 2)


def load(path: str | Path) -> Inference:
    """The centroids of a checkpoint."""
    return Inference(path)
