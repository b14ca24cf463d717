"""What a backbone is: a timm model, where its weights come from, and which of its tokens are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from patchbank.weights.facts import ModelFacts, model_facts

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Read: TypeAlias = tuple[int, bool]
"""Where an encoder is read: after which block, and whether with the model's final norm."""


@dataclass(frozen=True)
class BackboneSpec:
    """One entry of `backbones:` in the configuration.

    Attributes:
        name: how reports call it.
        model: timm model name, e.g. ``vit_small_patch16_224``.
        sources: where weights are looked for, in this order (see `patchbank.weights.fetch`).
        block: 0-based index of the block whose output is read; -1 is the last one.
        norm: whether the model's final norm is applied to that output.
        pos_embed: how position embeddings are resized: ``timm`` (bicubic, antialiased) or ``dino`` (the published
            DINO code: bicubic, not antialiased, scale factor (n + 0.1) / n0).
        mean, std: input normalisation of RGB values in [0, 1].
        note: a sentence that every report repeats.
        blocks: where else it is read: extraction writes these in the same pass, each into a bank of its own.
    """

    name: str
    model: str
    sources: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    block: int = -1
    norm: bool = True
    pos_embed: Literal["timm", "dino"] = "timm"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    note: str = ""
    blocks: tuple[Read, ...] = ()

    @property
    def read(self) -> Read:
        """Where it is read."""
        return self.block, self.norm

    def at(self, read: Read, reads: Iterable[Read]) -> BackboneSpec:
        """The same backbone, read at one of `reads`, all of which are written in one pass."""
        return replace(self, block=read[0], norm=read[1], blocks=tuple(other for other in reads if other != read))

    @property
    def facts(self) -> ModelFacts | None:
        """What is known of the model without building it; None of one that is new to `patchbank.weights.facts`."""
        return model_facts(self.model)
