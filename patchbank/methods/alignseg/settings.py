"""Settings of the AlignSeg head, checked once.

The defaults are our own configuration: queries are fed from layer to layer, every global crop meets the local crops
of its own image, and the train split's mean token is subtracted. ``decoder="reference"``, ``pairing="reference"``
and ``centre="none"`` are what the published system computes (AlignSeg, "Rethinking Self-Supervised Semantic
Segmentation: Achieving End-to-End Segmentation"); its pressure is 0.11 on VOC, 0.10 on COCO-Stuff, 0.13 on MOVi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from patchbank.errors import UserError
from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, ruled

TRAITS = Traits(kind="segments", trained=True, recipes=("multicrop",), needs=("multicrop",), epochs=True, curves=True)
TITLE = "AlignSeg"

_CROPS = ("size", "local_crops", "global_scale", "local_scale")
"""What `crops` takes over from recipe `multicrop`."""


def _crops_problem(name: str, value: Any) -> str | None:
    whole = value is None or (isinstance(value, Mapping) and set(value) == set(_CROPS))
    return None if whole else f"{name} is {value!r}, it must give {', '.join(_CROPS)}"


@dataclass(frozen=True)
class AlignSegSettings(Settings):
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

    TITLE = TITLE
    queries: int = ruled(rules.whole_number(2), 5)
    heads: int = ruled(rules.whole_number(1), 3)
    layers: int = ruled(rules.whole_number(1), 1)
    hidden: int = ruled(rules.whole_number(1), 768)
    decoder: str = ruled(rules.choice("stacked", "reference"), "stacked")
    pairing: str = ruled(rules.choice("same_image", "reference"), "same_image")
    centre: str = ruled(rules.choice("none", "mean", "standardise"), "mean")
    pressure: float = ruled(rules.number(), 0.11)
    foreground: bool = ruled(rules.flag, True)
    lr: float = ruled(rules.positive, 5e-4)
    weight_decay: float = ruled(rules.not_negative, 0.04)
    epochs: int = ruled(rules.whole_number(1), 10)
    batch_size: int = ruled(rules.whole_number(1), 32)
    lr_step_epochs: int = ruled(rules.whole_number(1), 3)
    lr_gamma: float = ruled(rules.number("must lie in (0, 1]", lambda value: 0 < value <= 1), 0.5)
    checkpoint_every: int = ruled(rules.whole_number(1), 2)
    initial_queries: str = ruled(rules.choice("normal", "kmeans"), "normal")
    draws: int = ruled(rules.whole_number(0), 0)
    refine: int = ruled(rules.whole_number(0), 0)
    metric: str = ruled(rules.choice("none", "discriminant"), "none")
    metric_dims: int = ruled(rules.whole_number(1), 32)
    metric_shrink: float = ruled(rules.positive, 0.01)
    merge_above: float = ruled(rules.number("is a cosine and must lie in (-1, 1]", lambda value: -1 < value <= 1), 1.0)
    tokens_from: str = ruled(rules.choice("crops", "whole"), "crops")
    crops: Mapping[str, Any] | None = ruled(_crops_problem, None)

    def check_width(self, dim: int) -> None:
        """Raise `UserError` when tokens of width `dim` cannot be split into `heads`."""
        rules.check_heads(TITLE, self.heads, dim)
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


CHEAPER = {"tokens_from": "whole"}
"""Crops are cut out of whole images' tokens, at no disk."""


def training_steps(settings: Mapping[str, Any], images: int) -> tuple[int, int]:
    """Steps of a training on so many images, and samples of a step."""
    size = min(int(settings["batch_size"]), images)
    return int(settings["epochs"]) * max(1, images // size), size


def draws_read(settings: Mapping[str, Any], stored: int) -> int:
    """How many of the stored draws are read: one an epoch, at most `draws` of them, and then again from the first."""
    return min(stored, int(settings["draws"]) or stored, int(settings["epochs"]))
