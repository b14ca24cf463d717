"""Tokens of a set as colours (`patchbank.drawing.pca`): what the encoder sees, before any method looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.reader import open_bank
from patchbank.datasets.manifest import Entry
from patchbank.drawing.pca import PICTURES, fit_basis, sampled
from patchbank.drawing.pictures import choose
from patchbank.errors import UserError


class Components:
    """PCA pictures of a split, in one basis that is fitted on `PICTURES` images spread evenly over it.

    Args:
        bank: `whole` bank of the split (folder or pointer).
        entries: images of the split.

    Raises:
        UserError: the bank lacks one of the images.
    """

    def __init__(self, bank: Path, entries: Sequence[Entry]) -> None:
        self._bank = open_bank(bank)
        self._rows = {image: row for row, image in enumerate(self._bank.images)}
        self._basis = fit_basis([sampled(self._tokens(entry)) for entry in choose(entries, PICTURES)])

    def picture(self, entry: Entry, size: tuple[int, int]) -> NDArray[np.uint8]:
        """An image's tokens as RGB (H, W, 3) of `size` (H, W)."""
        return self._basis.picture(self._tokens(entry), self._bank.grid, size)

    def _tokens(self, entry: Entry) -> NDArray[np.floating[Any]]:
        if entry.id not in self._rows:
            raise UserError(f"{self._bank.folder} has no image {entry.id}; extract again with this manifest.")
        tokens: NDArray[np.floating[Any]] = self._bank.read([self._rows[entry.id]], ("tokens",))["tokens"]
        return tokens.reshape(-1, self._bank.dim)
