"""Settings of the AlignSeg head, checked once.

The defaults are our own configuration: queries are fed from layer to layer, every global crop meets the local crops
of its own image, and the train split's mean token is subtracted. ``decoder="reference"``, ``pairing="reference"``
and ``centre="none"`` are what the published system computes (AlignSeg, "Rethinking Self-Supervised Semantic
Segmentation: Achieving End-to-End Segmentation"); its pressure is 0.11 on VOC, 0.10 on COCO-Stuff, 0.13 on MOVi.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from patchbank.errors import UserError
from patchbank.methods.shape import Traits

TRAITS = Traits(kind="segments", trained=True, recipes=("multicrop",), needs=("multicrop",), curves=True)

_CHOICES = {
    "decoder": ("stacked", "reference"),
    "pairing": ("same_image", "reference"),
    "centre": ("none", "mean", "standardise"),
    "initial_queries": ("normal", "kmeans"),
    "tokens_from": ("crops", "whole"),
    "metric": ("none", "discriminant"),
}
_CROPS = ("size", "local_crops", "global_scale", "local_scale")
"""What `crops` takes over from recipe `multicrop`."""
_AT_LEAST = {"queries": 2, "heads": 1, "layers": 1, "hidden": 1, "epochs": 1, "batch_size": 1} | {
    "lr_step_epochs": 1,
    "checkpoint_every": 1,
    "refine": 0,
    "metric_dims": 1,
    "draws": 0,
}


@dataclass(frozen=True)
class AlignSegSettings:
    """What shapes a trained head, apart from its bank, its statistics and its seed.

    Args:
        queries: number of learnable queries Q = segments of an image, at least 2.
        heads: attention heads; has to divide the width of the tokens.
        layers: decoder layers.
        hidden: width of the feed-forward layers.
        decoder: ``stacked`` feeds each layer with the one before; ``reference`` lets only the last one count.
        pairing: ``same_image``, or ``reference`` for the published code's mixing of images.
        centre: what is subtracted from the tokens (``none``, ``mean``), or also divided by (``standardise``).
        pressure: subtracted from the correspondence of two patches; higher separates more.
        foreground: whether the patch loss is taken over foreground patches only.
        lr: learning rate of AdamW before any decay.
        weight_decay: of every weight except biases, 1-d parameters and queries.
        epochs: passes over the images.
        batch_size: images of a step.
        lr_step_epochs: epochs between two decays of the learning rate.
        lr_gamma: factor of one decay, in (0, 1].
        checkpoint_every: epochs between two resumable states.
        initial_queries: how queries start: ``normal`` (standard normal), or ``kmeans`` (in the directions of centroids
            of train tokens).
        draws: how many of the bank's draws of each image are read, in turn; 0 is all of them.
        refine: k-means steps inside the image that move the queries at test time; 0 is published (`grouping`).
        metric: ``discriminant`` learns without labels in which directions segments differ, divides images and clusters
            segments by them (`metric`); ``none`` is published.
        metric_dims: number of those directions.
        metric_shrink: share of the mean variance inside segments that is added to every direction.
        merge_above: segments of an image whose mean directions have a higher cosine are one; 1 merges none.
        tokens_from: ``crops`` reads a `multicrop` bank, ``whole`` cuts its crops out of whole-image tokens.
        crops: geometry of the crops of ``tokens_from="whole"``, those settings of recipe `multicrop` that shape a
            box; None otherwise.
    """

    queries: int = 5
    heads: int = 3
    layers: int = 1
    hidden: int = 768
    decoder: str = "stacked"
    pairing: str = "same_image"
    centre: str = "mean"
    pressure: float = 0.11
    foreground: bool = True
    lr: float = 5e-4
    weight_decay: float = 0.04
    epochs: int = 10
    batch_size: int = 32
    lr_step_epochs: int = 3
    lr_gamma: float = 0.5
    checkpoint_every: int = 2
    initial_queries: str = "normal"
    draws: int = 0
    refine: int = 0
    metric: str = "none"
    metric_dims: int = 32
    metric_shrink: float = 0.01
    merge_above: float = 1.0
    tokens_from: str = "crops"
    crops: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Refuse impossible values, all of them in one sentence."""
        problems = [p for field in fields(self) if (p := _problem(field.name, getattr(self, field.name)))]
        if problems:
            raise UserError("AlignSeg settings: " + "; ".join(problems) + ".")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> AlignSegSettings:
        """Settings from a configuration; keys left out keep their defaults, unknown keys raise `UserError`."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise UserError(f"AlignSeg settings: unknown {', '.join(unknown)}; known are {', '.join(known)}.")
        return cls(**values)

    def check_width(self, dim: int) -> None:
        """Raise `UserError` when tokens of width `dim` cannot be split into `heads`."""
        if dim % self.heads:
            fitting = [h for h in range(1, 17) if dim % h == 0]
            raise UserError(
                f"AlignSeg settings: heads is {self.heads}, which does not divide the tokens' width {dim};"
                f" up to 16 these do: {', '.join(map(str, fitting))}."
            )
        if self.metric != "none" and self.metric_dims > dim:
            raise UserError(f"AlignSeg settings: metric_dims is {self.metric_dims}, the tokens' width is only {dim}.")

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of epoch `epoch` (0-based): one factor `lr_gamma` every `lr_step_epochs` epochs."""
        return float(self.lr) * float(self.lr_gamma) ** (epoch // self.lr_step_epochs)


def resolve(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings from the method's entry in the configuration."""
    if "crops" in own:
        raise UserError("AlignSeg settings: crops follows from recipes.multicrop; change it there.")
    if own.get("tokens_from") == "whole":
        multicrop = shared["recipes"]["multicrop"]
        if multicrop["augment"]:
            raise UserError("AlignSeg settings: tokens_from is 'whole', whose crops have no pixels to augment.")
        own = {**own, "crops": {key: multicrop[key] for key in _CROPS}}
    return asdict(AlignSegSettings.from_mapping(own))


def check_width(settings: Mapping[str, Any], width: int) -> None:
    """Raise `UserError` when these settings do not fit tokens of that width; asked before anything is extracted."""
    AlignSegSettings.from_mapping(settings).check_width(width)


def recipes(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Recipes of the banks that training with these settings reads."""
    return ("whole",) if settings["tokens_from"] == "whole" else ("multicrop",)


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings."""
    return replace(TRAITS, recipes=recipes(settings))


def draws_read(settings: Mapping[str, Any], stored: int) -> int:
    """How many of the stored draws are read: one an epoch, at most `draws` of them, and then again from the first."""
    return min(stored, int(settings["draws"]) or stored, int(settings["epochs"]))


def _problem(name: str, value: Any) -> str | None:
    if name in _CHOICES:
        options = _CHOICES[name]
        return None if value in options else f"{name} is {value!r}, choose {' | '.join(options)}"
    if name == "crops":
        whole = value is None or (isinstance(value, Mapping) and set(value) == set(_CROPS))
        return None if whole else f"{name} is {value!r}, it must give {', '.join(_CROPS)}"
    if name == "foreground":
        return None if isinstance(value, bool) else f"{name} is {value!r}, it must be true or false"
    if name in _AT_LEAST:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{name} is {value!r}, it must be a whole number"
        least = _AT_LEAST[name]
        return None if value >= least else f"{name} is {value}, it must be at least {least}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{name} is {value!r}, it must be a finite number (in YAML write 5.0e-4, as 5e-4 is a string)"
    if name == "lr" and value <= 0:
        return f"lr is {value}, it must be above 0"
    if name == "weight_decay" and value < 0:
        return f"weight_decay is {value}, it must not be negative"
    if name == "metric_shrink" and value <= 0:
        return f"{name} is {value}, it must be above 0"
    if name == "merge_above" and not -1 < value <= 1:
        return f"{name} is {value}, it is a cosine and must lie in (-1, 1]"
    if name == "lr_gamma" and not 0 < value <= 1:
        return f"lr_gamma is {value}, it must lie in (0, 1]"
    return None
