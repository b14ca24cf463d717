"""What every recipe has in common."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import patchbank.views
from patchbank.errors import UserError


@dataclass(frozen=True)
class Views:
    """The views of one sample = one (image, draw).

    Attributes:
        pixels: (V, H, W, 3) uint8 RGB.
        boxes: (V, 4) float32, x0 y0 x1 y1 of each view in pixels of the image.
        flip: (V,) bool, mirrored after the crop.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    flip: NDArray[np.bool_]


class RecipeProtocol(Protocol):
    """A recipe: pure functions of (image, image id, draw) and its own settings."""

    draws: int
    views: int
    size: tuple[int, int]

    def record(self) -> dict[str, Any]:
        """Everything that shapes the views, for the bank's record."""
        ...

    def make(self, image: Image.Image, image_id: str, draw: int) -> Views:
        """The views of one draw."""
        ...


def make_recipe(name: str, settings: Mapping[str, Any], patch: int) -> RecipeProtocol:
    """Build recipe `name` from its settings; sizes are rounded to the encoder's patch.

    Raises:
        UserError: for a name that is no recipe, or settings that the recipe does not have.
    """
    found = {module.name for module in pkgutil.iter_modules(patchbank.views.__path__)}
    known = sorted(found - {"base", "colour", "geometry"})
    if name not in known:
        raise UserError(f"Recipe {name!r} does not exist; recipes are {', '.join(known)}.")
    module = importlib.import_module(f"patchbank.views.{name}")
    recipe: RecipeProtocol = module.Recipe(patch=patch, **settings)
    return recipe
