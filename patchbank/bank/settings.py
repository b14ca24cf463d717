"""How a bank is made, as the workflow hands it to a job; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class CodingSettings:
    """What the small tokens of a bank (`patchbank.bank.coding`) are fitted on.

    All banks of a set and an encoder are coded alike, so that heads meet in every one the tokens that they know.

    Attributes:
        split: whose images are sampled, the training's.
        whole: settings of recipe `whole`, by which they are read.
        pca: directions that are kept of all channels; 0 keeps the channels.
    """

    split: str
    whole: Mapping[str, Any] = field(default_factory=dict)
    pca: int = 0


@dataclass(frozen=True)
class ExtractSettings:
    """How a bank is made.

    Attributes:
        recipe: name of the recipe.
        recipe_settings: its settings (size, draws, ...).
        precision: of the forward pass.
        dtype: of the stored values, ``float16`` or ``float32``; ``int8`` codes tokens, everything else is float16.
        images_per_shard: upper bound of the mean number of images in a shard.
        batch_tokens: patch tokens per forward pass; the one knob for memory.
        coding: what small tokens are fitted on, and which directions are kept; None for float tokens of all channels.
    """

    recipe: str
    recipe_settings: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    dtype: str = "float16"
    images_per_shard: int = 128
    batch_tokens: int = 8192
    coding: CodingSettings | None = None

    @property
    def features(self) -> str:
        """dtype of what is not coded."""
        return "float16" if self.dtype == "int8" else self.dtype
