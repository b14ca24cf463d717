"""Tokens of pictures with an object before a background, for what divides the two."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.methods.tools.foreground_split import Split, fit_split

GRID = (6, 6)
AXES = np.eye(5, dtype=np.float32)


def pictures(kinds: list[int]) -> NDArray[np.float32]:
    """Tokens (n, 36, 5): background along -axis 0, a square of 3x3 patches along +axis 0 and an axis of its kind."""
    rng = np.random.default_rng(0)
    tokens = np.tile(-3 * AXES[0], (len(kinds), *GRID, 1))
    for image, kind in enumerate(kinds):
        tokens[image, 1:4, 2:5] = 3 * AXES[0] + AXES[1 + kind]
    tokens += rng.normal(0, 0.05, tokens.shape).astype(np.float32)
    return tokens.reshape(len(kinds), -1, 5)


def bank_of(tokens: NDArray[np.float32]) -> Any:
    """Tokens in memory as a bank of whole images."""
    return SimpleNamespace(
        images=[f"{number:016x}" for number in range(len(tokens))],
        grid=GRID,
        dim=tokens.shape[2],
        read=lambda rows, _: {"tokens": tokens[list(rows)][:, None]},
    )


def split_of(tokens: NDArray[np.float32], per_image: bool = False) -> Split:
    """The split of these images."""
    flat = tokens.reshape(-1, tokens.shape[2])
    return fit_split(bank_of(tokens), flat, None, per_image, 0)


def square() -> NDArray[np.bool_]:
    """The patches (36,) of the object of `pictures`."""
    inside = np.zeros(GRID, bool)
    inside[1:4, 2:5] = True
    return inside.ravel()
