"""How a bank is made, as the workflow hands it to a job; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class ExtractSettings:
    """How a bank is made.

    Attributes:
        recipe: name of the recipe.
        recipe_settings: its settings (size, draws, ...).
        precision: of the forward pass.
        dtype: of the stored values, ``float16`` or ``float32``.
        images_per_shard: upper bound of the mean number of images in a shard.
        batch_tokens: patch tokens per forward pass; the one knob for memory.
    """

    recipe: str
    recipe_settings: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    dtype: str = "float16"
    images_per_shard: int = 128
    batch_tokens: int = 8192
