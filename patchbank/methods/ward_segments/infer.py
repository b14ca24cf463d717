"""`ward-segments` on pictures outside a bank: the classes of the first number of them that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchbank.checkpoints.store import check_method, load_arrays
from patchbank.methods.shape import Seen
from patchbank.methods.ward_segments.fitted import Fitted
from patchbank.variants import k_and_seed

METHOD = "ward_segments"


class WardModel:
    """A fitted row, as `patchbank.methods.shape.PictureModel`.

    Args:
        path: of the checkpoint.

    Attributes:
        fitted: what the checkpoint holds.

    Raises:
        UserError: a checkpoint of another method.
    """

    reads_block = False

    def __init__(self, path: str | Path) -> None:
        arrays, record = load_arrays(path)
        check_method(record, METHOD, path)
        self.fitted = Fitted.from_arrays(arrays, record)
        self._variant = min(self.fitted.centres, key=k_and_seed)
        self.dim, self.segments = len(self.fitted.segmenter.whitening.shift), self.fitted.classes[self._variant]
        self.record: Mapping[str, Any] = {**record, "variants": [[self._variant, self.segments]]}

    def scores_of(self, seen: Seen) -> Tensor:
        """(K, N): every patch has the scores of its segment."""
        return torch.from_numpy(self.fitted.scores(seen.tokens.cpu().numpy(), seen.id)[self._variant].copy())

    def to(self, device: torch.device) -> WardModel:
        """It computes on the CPU."""
        return self


def load(path: str | Path) -> WardModel:
    """The classes of a checkpoint."""
    return WardModel(path)
