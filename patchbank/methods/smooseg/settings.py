"""Settings of SmooSeg, checked once.

The defaults are our own: views at no disk, centred tokens, no dropout of the tokens that are compared. What is
published stands in `workflow/settings/smooseg_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, ruled
from patchbank.methods.tools.view_names import VIEWS, on_views

TITLE = "SmooSeg"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), epochs=True, curves=True, codes=True)


@dataclass(frozen=True)
class SmooSegSettings(Settings):
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

    TITLE = TITLE
    views: str = ruled(rules.choice(*VIEWS), "windows")
    centre: str = ruled(rules.choice("none", "mean", "standardise"), "mean")
    width: int = ruled(rules.whole_number(1), 64)
    dropout: float = ruled(rules.below_one, 0.2)
    signal_dropout: float = ruled(rules.below_one, 0.0)
    centring: bool = ruled(rules.flag, True)
    shift_intra: float = ruled(rules.number(), -0.02)
    shift_inter: float = ruled(rules.number(), 0.48)
    decay: float = ruled(rules.number("must lie in [0, 1]", lambda value: 0 <= value <= 1), 0.998)
    classes: str = ruled(rules.choice("prototypes", "kmeans"), "prototypes")
    tokens: int = ruled(rules.whole_number(1), 50_000)
    mirror: bool = ruled(rules.flag, False)
    lr: float = ruled(rules.positive, 1e-4)
    prototype_lr: float = ruled(rules.positive, 5e-4)
    steps: int = ruled(rules.whole_number(1), 2_000)
    batch_size: int = ruled(rules.whole_number(2), 32)
    checkpoint_every: int = ruled(rules.whole_number(1), 200)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters with their fits."""
    return SmooSegSettings.resolved(entry, shared, "k", "kmeans_seeds", "kmeans")


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings."""
    return on_views(TRAITS, settings)
