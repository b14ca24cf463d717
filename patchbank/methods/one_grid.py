"""Models that have learned something for every place of one patch grid, and read no other.

The positions of a decoder are such: of a picture with other patches nothing is known. `patchbank segment`, `patchbank
export onnx` and a method's own `predict` ask before anything is computed.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from patchbank.errors import UserError


@runtime_checkable
class OneGrid(Protocol):
    """Such a model.

    Attributes:
        grid: (h, w) of the patches that it was trained on.
    """

    @property
    def grid(self) -> tuple[int, int]:
        """Of patches."""
        ...


def check_grid(model: object, grid: tuple[int, int] | None, what: str, advice: str) -> None:
    """Raise `UserError` where a model reads one grid, and it is another one.

    Args:
        model: any.
        grid: (h, w) that it would be given; None where every picture has its own.
        what: has that grid, the beginning of a sentence.
        advice: the way out.
    """
    if isinstance(model, OneGrid) and model.grid != grid:
        given = "a grid of its own for every picture" if grid is None else f"{grid[0]}x{grid[1]} patches"
        known = f"{model.grid[0]}x{model.grid[1]}"
        raise UserError(f"{what} has {given}, and the head has learned the places of {known} patches; {advice}.")
