"""`image-kmeans-whitened` on pictures outside a bank: segments of each by itself, in the whitening of the set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchbank.checkpoints.store import check_method, load_arrays
from patchbank.clustering.projection import Projection
from patchbank.methods.image_kmeans_whitened.segments import segments_of
from patchbank.methods.shape import Seen

METHOD = "image_kmeans_whitened"


class WhitenedModel:
    """A fitted whitening, as `patchbank.methods.shape.PictureModel`.

    Args:
        path: of the checkpoint.

    Raises:
        UserError: a checkpoint of another method.
    """

    reads_block = False

    def __init__(self, path: str | Path) -> None:
        arrays, record = load_arrays(path)
        check_method(record, METHOD, path)
        self.record: Mapping[str, Any] = record
        self._whitening = Projection.from_arrays(arrays)
        self.dim, self.segments = len(self._whitening.shift), int(record["settings"]["segments"])

    def scores_of(self, seen: Seen) -> Tensor:
        """(Q, N): 0 for the segment of a patch, -1 for the others."""
        settings, seed = self.record["settings"], int(self.record["seed"])
        labels = segments_of(seen.tokens.cpu().numpy(), self._whitening, settings, seed, seen.id)
        hit = labels == np.arange(self.segments)[:, None]
        return torch.from_numpy(np.where(hit, 0.0, -1.0).astype(np.float32))

    def to(self, device: torch.device) -> WhitenedModel:
        """It computes on the CPU."""
        return self


def load(path: str | Path) -> WhitenedModel:
    """The whitening of a checkpoint."""
    return WhitenedModel(path)
