"""Settings of STEGO, checked once.

The defaults are our own configuration: shifts found without labels, k-means on the final codes, centred tokens, no
dropout of the tokens that are compared. What is published stands in `workflow/settings/stego_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
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

TITLE = "STEGO"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), curves=True)
_SHARE = number("is a share and must lie between 0 and 1", lambda value: 0 < value < 1)


@dataclass(frozen=True)
class StegoSettings:
    """What shapes a trained head, apart from its banks, its statistics and its seed.

    Args:
        views: what it trains on (`patchbank.methods.tools.training_views`); ``five`` is published.
        centre: what is done to tokens first; ``none`` is published.
        width: C of the codes.
        points: points along a side of the sampled grid.
        negatives: other images that every image is compared with.
        dropout: share of channels that the head does not see of an image.
        signal_dropout: share of channels that the compared tokens lack; 0.1 is published.
        sample: ``codes`` samples codes between patches; ``tokens`` samples tokens and computes codes of these only,
            which is cheaper and not the same.
        centring: whether token similarities are spatially centred.
        clamp: of code similarities: ``zero``, ``stabilised`` or ``none``.
        weight_intra, weight_inter, weight_negative: of the three parts of the loss.
        shifts: ``auto`` searches them on the train bank without labels (`patchbank.methods.stego.shifts`); ``given``
            takes `shift_intra`, `shift_inter` and `shift_negative`, at which the search starts.
        shift_intra, shift_inter, shift_negative: what token similarity has to exceed for codes to be pulled together.
        search_steps: steps of the search.
        near_zero: share of negative pairs whose codes should have a cosine of at most `shifts.LOW`.
        near_one: share of positive pairs whose codes should have one of at least `shifts.HIGH`.
        probe: ``kmeans`` clusters the final codes; ``reference`` trains a cluster probe beside the head.
        tokens: train tokens whose codes are clustered.
        mirror: whether scores are averaged with those of the mirror image (bank `mirrored`); published.
        lr, probe_lr: of Adam for the head and for the probe.
        steps: of the training.
        batch_size: views of a step.
        checkpoint_every: steps between two resumable states.
    """

    views: str = "windows"
    centre: str = "mean"
    width: int = 70
    points: int = 11
    negatives: int = 5
    dropout: float = 0.1
    signal_dropout: float = 0.0
    sample: str = "codes"
    centring: bool = True
    clamp: str = "zero"
    weight_intra: float = 0.67
    weight_inter: float = 0.25
    weight_negative: float = 0.63
    shifts: str = "auto"
    shift_intra: float = 0.18
    shift_inter: float = 0.12
    shift_negative: float = 0.46
    search_steps: int = 400
    near_zero: float = 0.75
    near_one: float = 0.1
    probe: str = "kmeans"
    tokens: int = 50_000
    mirror: bool = False
    lr: float = 5e-4
    probe_lr: float = 5e-3
    steps: int = 2_000
    batch_size: int = 16
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        """Refuse impossible values, all of them in one sentence."""
        refuse(TITLE, problems(vars(self), _RULES))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> StegoSettings:
        """The part of resolved settings that belongs to the head."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def resolve(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters with their fits."""
    refuse_unknown(TITLE, own, [field.name for field in fields(StegoSettings)])
    same = {name: shared[name] for name in ("k", "kmeans_seeds", "kmeans")}
    return {**asdict(StegoSettings(**own)), **{name: _plain(value) for name, value in same.items()}}


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings."""
    reads = ("whole", "mirrored") if settings["mirror"] else ("whole",)
    return replace(TRAITS, recipes=recipes(settings["views"]), reads=reads)


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else list(value)


_RULES: Mapping[str, Rule] = {
    "views": choice(*VIEWS),
    "centre": choice("none", "mean", "standardise"),
    "width": whole_number(1),
    "points": whole_number(2),
    "negatives": whole_number(1),
    "dropout": number("must lie in [0, 1)", lambda value: 0 <= value < 1),
    "signal_dropout": number("must lie in [0, 1)", lambda value: 0 <= value < 1),
    "sample": choice("codes", "tokens"),
    "centring": flag,
    "clamp": choice("zero", "stabilised", "none"),
    "weight_intra": not_negative,
    "weight_inter": not_negative,
    "weight_negative": not_negative,
    "shifts": choice("auto", "given"),
    "shift_intra": number(),
    "shift_inter": number(),
    "shift_negative": number(),
    "search_steps": whole_number(2),
    "near_zero": _SHARE,
    "near_one": _SHARE,
    "probe": choice("kmeans", "reference"),
    "tokens": whole_number(1),
    "mirror": flag,
    "lr": positive,
    "probe_lr": positive,
    "steps": whole_number(1),
    "batch_size": whole_number(2),
    "checkpoint_every": whole_number(1),
}
