"""Settings of the AlignSeg head, checked once.

The defaults are our own configuration: queries are fed from layer to layer, every global crop meets the local crops
of its own image, and the train split's mean token is subtracted. ``decoder="reference"``, ``pairing="reference"``
and ``centre="none"`` are what the published system computes (AlignSeg, "Rethinking Self-Supervised Semantic
Segmentation: Achieving End-to-End Segmentation"); its pressure is 0.11 on VOC, 0.10 on COCO-Stuff, 0.13 on MOVi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from patchbank.errors import UserError
from patchbank.methods.shape import Traits, refuse_unknown
from patchbank.methods.tools.fields import (
    Rule,
    check_heads,
    choice,
    flag,
    not_negative,
    number,
    positive,
    problems,
    refuse,
    whole_number,
)

TRAITS = Traits(kind="segments", trained=True, recipes=("multicrop",), needs=("multicrop",), curves=True)
TITLE = "AlignSeg"

_CROPS = ("size", "local_crops", "global_scale", "local_scale")
"""What `crops` takes over from recipe `multicrop`."""


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
        refuse(TITLE, problems(vars(self), _RULES))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> AlignSegSettings:
        """Settings from a configuration; keys left out keep their defaults, unknown keys raise `UserError`."""
        refuse_unknown(f"{TITLE} settings", values, [field.name for field in fields(cls)])
        return cls(**values)

    def check_width(self, dim: int) -> None:
        """Raise `UserError` when tokens of width `dim` cannot be split into `heads`."""
        check_heads(TITLE, self.heads, dim)
        if self.metric != "none" and self.metric_dims > dim:
            raise UserError(f"AlignSeg settings: metric_dims is {self.metric_dims}, the tokens' width is only {dim}.")

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of epoch `epoch` (0-based): one factor `lr_gamma` every `lr_step_epochs` epochs."""
        return float(self.lr) * float(self.lr_gamma) ** (epoch // self.lr_step_epochs)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings from the method's entry in the configuration."""
    if "crops" in entry:
        raise UserError("AlignSeg settings: crops follows from recipes.multicrop; change it there.")
    if entry.get("tokens_from") == "whole":
        multicrop = shared["recipes"]["multicrop"]
        if multicrop["augment"]:
            raise UserError("AlignSeg settings: tokens_from is 'whole', whose crops have no pixels to augment.")
        entry = {**entry, "crops": {key: multicrop[key] for key in _CROPS}}
    return asdict(AlignSegSettings.from_mapping(entry))


def check_width(settings: Mapping[str, Any], width: int) -> None:
    """Raise `UserError` when these settings do not fit tokens of that width; asked before anything is extracted."""
    AlignSegSettings.from_mapping(settings).check_width(width)


def needs_class_token(settings: Mapping[str, Any]) -> str:
    """The foreground is made from the class token's attention."""
    return "foreground: true reads its attention; set foreground: false" if settings["foreground"] else ""


def recipes(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Recipes of the banks that training with these settings reads."""
    return ("whole",) if settings["tokens_from"] == "whole" else ("multicrop",)


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings."""
    return replace(TRAITS, recipes=recipes(settings))


def draws_read(settings: Mapping[str, Any], stored: int) -> int:
    """How many of the stored draws are read: one an epoch, at most `draws` of them, and then again from the first."""
    return min(stored, int(settings["draws"]) or stored, int(settings["epochs"]))


def _crops_problem(name: str, value: Any) -> str | None:
    whole = value is None or (isinstance(value, Mapping) and set(value) == set(_CROPS))
    return None if whole else f"{name} is {value!r}, it must give {', '.join(_CROPS)}"


_RULES: Mapping[str, Rule] = {
    "queries": whole_number(2),
    "heads": whole_number(1),
    "layers": whole_number(1),
    "hidden": whole_number(1),
    "decoder": choice("stacked", "reference"),
    "pairing": choice("same_image", "reference"),
    "centre": choice("none", "mean", "standardise"),
    "pressure": number(),
    "foreground": flag,
    "lr": positive,
    "weight_decay": not_negative,
    "epochs": whole_number(1),
    "batch_size": whole_number(1),
    "lr_step_epochs": whole_number(1),
    "lr_gamma": number("must lie in (0, 1]", lambda value: 0 < value <= 1),
    "checkpoint_every": whole_number(1),
    "initial_queries": choice("normal", "kmeans"),
    "draws": whole_number(0),
    "refine": whole_number(0),
    "metric": choice("none", "discriminant"),
    "metric_dims": whole_number(1),
    "metric_shrink": positive,
    "merge_above": number("is a cosine and must lie in (-1, 1]", lambda value: -1 < value <= 1),
    "tokens_from": choice("crops", "whole"),
    "crops": _crops_problem,
}
