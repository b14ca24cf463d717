"""Settings of PriMaPs, checked once.

The defaults are our own: whole images, centred tokens, everything on the patch grid. What is published stands in
`workflow/settings/primaps_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from patchbank.methods.shape import Traits, refuse_unknown
from patchbank.methods.tools.fields import (
    Rule,
    choice,
    flag,
    not_negative,
    number,
    positive,
    problems,
    refuse,
    whole_number,
)
from patchbank.methods.tools.view_names import VIEWS, recipes

TITLE = "PriMaPs"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), curves=True)
_SHARE = number("must lie between 0 and 1", lambda value: 0 < value < 1)


@dataclass(frozen=True)
class PrimapsSettings:
    """What shapes a row, apart from its banks, its statistics and its seed.

    Args:
        stage: ``em``; ``baseline``, cosine k-means by gradient, for as many `epochs`; or ``proposals``, which trains
            nothing: segments inside images, each image with a number of its own.
        views: what is trained on (`patchbank.methods.tools.training_views`); ``center320`` is published.
        centre: what is done to tokens first; ``none`` is published.
        threshold: see `proposals.Rule`.
        most: most proposals of an image; what is left is background. Nothing is published.
        reference: the published choices where proposals are made (`proposals`).
        size: side in pixels at which labels are compared while EM trains; 0 is the patch grid, 320 is published.
        start_epochs: of the baseline before EM.
        epochs: of EM, or of the baseline where it is the row.
        pca_batches: batches of images whose tokens give the start.
        gamma: see `step.focal_loss`.
        teacher_every, teacher_decay: see `prototypes.Teacher`.
        mirror: whether scores are averaged with those of the mirror image (bank `mirrored`); published.
        lr: of Adam.
        batch_size: views of a step.
        checkpoint_every: steps between two resumable states.
    """

    stage: str = "em"
    views: str = "whole"
    centre: str = "mean"
    threshold: float = 0.4
    most: int = 31
    reference: bool = False
    size: int = 0
    start_epochs: int = 2
    epochs: int = 50
    pca_batches: int = 93
    gamma: float = 2.0
    teacher_every: int = 10
    teacher_decay: float = 0.98
    mirror: bool = False
    lr: float = 5e-3
    batch_size: int = 32
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        """Refuse impossible values, all of them in one sentence."""
        refuse(TITLE, problems(vars(self), _RULES))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> PrimapsSettings:
        """The part of resolved settings that belongs to the method."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def resolve(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters."""
    refuse_unknown(TITLE, own, [field.name for field in fields(PrimapsSettings)])
    same = {"k": list(shared["k"]), "kmeans_seeds": list(shared["kmeans_seeds"])}
    return {**asdict(PrimapsSettings(**own)), **same}


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings: proposals are segments, and nothing is trained."""
    if settings["stage"] == "proposals":
        return Traits(kind="segments", trained=False)
    reads = ("whole", "mirrored") if settings["mirror"] else ("whole",)
    return Traits(kind="classes", trained=True, recipes=recipes(settings["views"]), curves=True, reads=reads)


_RULES: Mapping[str, Rule] = {
    "stage": choice("em", "baseline", "proposals"),
    "views": choice(*(name for name in VIEWS if name != "random")),
    "centre": choice("none", "mean", "standardise"),
    "threshold": _SHARE,
    "most": number("must lie in 1 to 254", lambda value: 1 <= value <= 254),
    "reference": flag,
    "size": whole_number(0),
    "start_epochs": whole_number(0),
    "epochs": whole_number(1),
    "pca_batches": whole_number(1),
    "gamma": not_negative,
    "teacher_every": whole_number(1),
    "teacher_decay": number("must lie in [0, 1)", lambda value: 0 <= value < 1),
    "mirror": flag,
    "lr": positive,
    "batch_size": whole_number(1),
    "checkpoint_every": whole_number(1),
}
