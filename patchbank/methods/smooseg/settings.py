"""Settings of SmooSeg, checked once.

The defaults are our own: views at no disk, centred tokens, no dropout of the tokens that are compared. What is
published stands in `workflow/settings/smooseg_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from patchbank.methods.shape import Traits, refuse_unknown
from patchbank.methods.tools.fields import Rule, choice, flag, number, positive, problems, refuse, whole_number
from patchbank.methods.tools.view_names import VIEWS, recipes

TITLE = "SmooSeg"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), curves=True)
_SHARE = number("must lie in [0, 1)", lambda value: 0 <= value < 1)


@dataclass(frozen=True)
class SmooSegSettings:
    """What shapes a trained head, apart from its banks, its statistics and its seed.

    Args:
        views: what it trains on (`patchbank.methods.tools.training_views`); ``five`` is published.
        centre: what is done to tokens first; ``none`` is published.
        width: C of the codes.
        dropout: share of channels that the head does not see of an image.
        signal_dropout: share of channels that the compared tokens lack; 0.2 is published.
        centring: whether token similarities are spatially centred.
        shift_intra, shift_inter: what token similarity has to exceed, inside an image and between two, for classes to
            be pulled together.
        decay: of the teacher's prototypes.
        classes: ``prototypes`` are the published classes, as many as the set has; ``kmeans`` clusters the final codes.
        tokens: train tokens whose codes are clustered.
        mirror: whether scores are averaged with those of the mirror image (bank `mirrored`); published.
        lr, prototype_lr: of Adam for the head and for the prototypes.
        steps: of the training.
        batch_size: views of a step.
        checkpoint_every: steps between two resumable states.
    """

    views: str = "windows"
    centre: str = "mean"
    width: int = 64
    dropout: float = 0.2
    signal_dropout: float = 0.0
    centring: bool = True
    shift_intra: float = -0.02
    shift_inter: float = 0.48
    decay: float = 0.998
    classes: str = "prototypes"
    tokens: int = 50_000
    mirror: bool = False
    lr: float = 1e-4
    prototype_lr: float = 5e-4
    steps: int = 2_000
    batch_size: int = 32
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        """Refuse impossible values, all of them in one sentence."""
        refuse(TITLE, problems(vars(self), _RULES))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> SmooSegSettings:
        """The part of resolved settings that belongs to the head."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def resolve(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters with their fits."""
    refuse_unknown(TITLE, own, [field.name for field in fields(SmooSegSettings)])
    same = {"k": list(shared["k"]), "kmeans_seeds": list(shared["kmeans_seeds"]), "kmeans": dict(shared["kmeans"])}
    return {**asdict(SmooSegSettings(**own)), **same}


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings."""
    reads = ("whole", "mirrored") if settings["mirror"] else ("whole",)
    return replace(TRAITS, recipes=recipes(settings["views"]), reads=reads)


_RULES: Mapping[str, Rule] = {
    "views": choice(*VIEWS),
    "centre": choice("none", "mean", "standardise"),
    "width": whole_number(1),
    "dropout": _SHARE,
    "signal_dropout": _SHARE,
    "centring": flag,
    "shift_intra": number(),
    "shift_inter": number(),
    "decay": number("must lie in [0, 1]", lambda value: 0 <= value <= 1),
    "classes": choice("prototypes", "kmeans"),
    "tokens": whole_number(1),
    "mirror": flag,
    "lr": positive,
    "prototype_lr": positive,
    "steps": whole_number(1),
    "batch_size": whole_number(2),
    "checkpoint_every": whole_number(1),
}
