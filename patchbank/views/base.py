"""What every recipe has in common."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import patchbank.views
from patchbank.backbones.encoder import Encoder
from patchbank.errors import UserError
from patchbank.views.fields import Shapes

HELPERS = ("base", "bounds", "colour", "fields", "geometry", "plain", "resize")
"""Modules of this room that are no recipe."""


@dataclass(frozen=True)
class Views:
    """The views of one sample = one (image, draw).

    Attributes:
        pixels: (V, H, W, 3) RGB from 0 to 255, uint8 or float32.
        boxes: (V, 4) float32, x0 y0 x1 y1 of each view in pixels of the image (or as the recipe says).
        flip: (V,) bool, mirrored after the crop.
    """

    pixels: NDArray[np.uint8] | NDArray[np.float32]
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


@runtime_checkable
class EncodingRecipe(Protocol):
    """A recipe that says itself what a row holds and how it is encoded.

    `shapes` declares the row's datasets in the order in which its checksum reads them; where they are not those of most
    recipes, the record lists them under `fields`, in the same order, `image` last. `encode` may run the encoder several
    times; what it returns wins over the geometry that `make` returned.
    """

    batch_images: int
    """Images that `encode` gets at least, so that it can batch across them."""

    def shapes(self, vit: Encoder, dtype: np.dtype[Any]) -> Shapes:
        """Per-row shape and dtype of every field but `image`; `dtype` is the one that features are stored in."""
        ...

    def encode(self, vit: Encoder, pixels: torch.Tensor, batch_tokens: int) -> dict[str, torch.Tensor]:
        """Fields of images (images, draws, V, H, W, 3), rows first, on any device; `batch_tokens` patch tokens a
        forward pass."""
        ...


@runtime_checkable
class SideFiles(Protocol):
    """A recipe that keeps files of its own beside a bank's shards."""

    def beside(self, folder: Path, vit: Encoder, content: str) -> None:
        """Write them; `content` is the hash that says which bank they belong to (`patchbank.bank.format`)."""
        ...


def make_recipe(name: str, settings: Mapping[str, Any], patch: int) -> RecipeProtocol:
    """Build recipe `name` from its settings; sizes are rounded to the encoder's patch.

    Raises:
        UserError: for a name that is no recipe, or settings that the recipe does not have.
    """
    known = sorted({module.name for module in pkgutil.iter_modules(patchbank.views.__path__)} - set(HELPERS))
    if name not in known:
        raise UserError(f"Recipe {name!r} does not exist; recipes are {', '.join(known)}.")
    module = importlib.import_module(f"patchbank.views.{name}")
    recipe: RecipeProtocol = module.Recipe(patch=patch, **settings)
    return recipe
