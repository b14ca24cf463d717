"""Proposals of all views of a train split, made once and mapped from a file that every start and seed reads.

A folder ``<state_root>/proposals-<digest>`` (`patchbank.methods.tools.seedless`) holds two files:

| file | what |
|---|---|
| `proposals.bin` | (views, H, W) uint8, 0 for no proposal, row after row |
| `done.json` | how many views are complete, and the identity |

Trainings beside each other may write the same file: the bytes are equal, and the count never exceeds what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchbank.files import check_space, read_json, write_json
from patchbank.methods.primaps.proposals import NONE, Rule, log_probabilities, proposal_labels, soft_masks
from patchbank.methods.primaps.settings import TITLE, PrimapsSettings
from patchbank.methods.tools.seedless import kept_in
from patchbank.methods.tools.training_views import TrainingViews
from patchbank.progress import track

_BLOCK = 256
"""Views between two counts on disk."""
_SHAPING = ("views", "threshold", "most", "reference")
"""Settings that proposals depend on, beside the centring of the tokens."""


class StoredProposals:
    """Proposals of views; those that are missing are made.

    Args:
        root: folder of all states.
        views: of the train split.
        settings: how proposals are made.
        size: (H, W) at which they are kept.
        origin: of the training (`patchbank.methods.tools.phases.origin`).

    Raises:
        UserError: no room on the disk.
    """

    def __init__(
        self,
        root: Path,
        views: TrainingViews,
        settings: PrimapsSettings,
        size: tuple[int, int],
        origin: Mapping[str, Any],
    ) -> None:
        self._views, self._size, self._reference = views, size, settings.reference
        self._rule = Rule(settings.threshold, settings.most, settings.reference)
        shapes = {"size": list(size), **{name: getattr(settings, name) for name in _SHAPING}}
        self.folder, self._identity = kept_in(root, "proposals", "patchbank.methods.primaps.stored", origin, shapes)
        self._count = self.folder / "done.json"
        self._masks = self._mapped()
        self._make(self._done())

    def read(self, samples: NDArray[np.int64]) -> Tensor:
        """Proposals (b, H, W) int64 of views, `proposals.NONE` for none."""
        labels = torch.from_numpy(self._masks[samples].astype(np.int64))
        return torch.where(labels == 0, NONE, labels)

    def _mapped(self) -> NDArray[np.uint8]:
        shape = (self._views.count, *self._size)
        path, needed = self.folder / "proposals.bin", int(np.prod(shape))
        if not path.is_file():
            self._count.unlink(missing_ok=True)
            check_space(self.folder, needed, "free some space, or make results/.training a link to a larger disk")
        with path.open("ab") as file:
            file.truncate(needed)  # nothing changes where another training has made it
        return np.memmap(path, np.uint8, "r+", shape=shape)

    def _done(self) -> int:
        return int(read_json(self._count)["done"]) if self._count.is_file() else 0

    def _make(self, first: int) -> None:
        total, grid = self._views.count, self._views.grid
        for number in track(range(first, total), f"{TITLE} proposals", "view"):
            masks, _ = soft_masks(self._views.read(np.array([number]))[0], self._rule)
            log_probs = log_probabilities(masks, grid, self._reference)
            labels = proposal_labels(log_probs, None if self._size == grid else self._size)
            self._masks[number] = torch.where(labels == NONE, 0, labels).numpy()
            if (number + 1) % _BLOCK == 0 or number + 1 == total:
                self._masks.flush()  # type: ignore[attr-defined]
                write_json(self._count, {"done": number + 1, "identity": self._identity})
