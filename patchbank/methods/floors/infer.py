"""The floors on pictures outside a bank: nothing was trained, so there is no checkpoint.

Beside a set, `image-kmeans` centres tokens with its statistics, as stage `predict` does. Without one every picture is
centred with the mean of its own tokens, so that its segments depend on no other picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchbank.bank.centring import moments
from patchbank.bank.statistics import Statistics
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.methods.floors.predict import segments_of
from patchbank.methods.floors.settings import FloorSettings
from patchbank.methods.shape import Seen


class FloorModel:
    """One floor, as `patchbank.methods.shape.PictureModel`.

    Args:
        record: see `patchbank.methods.shape.Untrained.make`.
        statistics: of the set's train tokens, or None.
    """

    reads_block = False

    def __init__(self, record: Mapping[str, Any], statistics: Statistics | None) -> None:
        self.record, self._statistics = record, statistics
        self._options = FloorSettings.parse(record["settings"])
        self.segments = self._options.q
        self.dim = 0 if statistics is None else len(statistics.mean)

    def scores_of(self, seen: Seen) -> Tensor:
        """(Q, N): 0 for the segment of a patch, -1 for the others."""
        tokens = seen.tokens.cpu().numpy()
        labels = segments_of(self._options, int(self.record["seed"]), seen.id, seen.grid, self._points(tokens))
        hit = labels.ravel() == np.arange(self.segments)[:, None]
        return torch.from_numpy(np.where(hit, 0.0, -1.0).astype(np.float32))

    def _points(self, tokens: NDArray[np.float16]) -> NDArray[np.float32]:
        """Centred tokens (N, D) of unit length."""
        statistics = self._statistics or moments(tokens.astype(np.float32))
        return fit_projection(tokens[:1], ProjectionSettings(self._options.centre, normalise=True), statistics)(tokens)

    def to(self, device: torch.device) -> FloorModel:
        """Floors compute on the CPU."""
        return self


def make(record: Mapping[str, Any], statistics: Path | None) -> FloorModel:
    """The floor of a row."""
    return FloorModel(record, None if statistics is None else Statistics.load(statistics))
