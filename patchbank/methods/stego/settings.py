"""Settings of STEGO, checked once.

The defaults are our own configuration: shifts found without labels, k-means on the final codes, centred tokens, no
dropout of the tokens that are compared. What is published stands in `workflow/settings/stego_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, ruled
from patchbank.methods.tools.view_names import VIEWS, on_views

TITLE = "STEGO"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), epochs=True, curves=True, codes=True)
_SHARE = rules.number("is a share and must lie between 0 and 1", lambda value: 0 < value < 1)


@dataclass(frozen=True)
class StegoSettings(Settings):
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

    TITLE = TITLE
    views: str = ruled(rules.choice(*VIEWS), "windows")
    centre: str = ruled(rules.choice("none", "mean", "standardise"), "mean")
    width: int = ruled(rules.whole_number(1), 70)
    points: int = ruled(rules.whole_number(2), 11)
    negatives: int = ruled(rules.whole_number(1), 5)
    dropout: float = ruled(rules.below_one, 0.1)
    signal_dropout: float = ruled(rules.below_one, 0.0)
    sample: str = ruled(rules.choice("codes", "tokens"), "codes")
    centring: bool = ruled(rules.flag, True)
    clamp: str = ruled(rules.choice("zero", "stabilised", "none"), "zero")
    weight_intra: float = ruled(rules.not_negative, 0.67)
    weight_inter: float = ruled(rules.not_negative, 0.25)
    weight_negative: float = ruled(rules.not_negative, 0.63)
    shifts: str = ruled(rules.choice("auto", "given"), "auto")
    shift_intra: float = ruled(rules.number(), 0.18)
    shift_inter: float = ruled(rules.number(), 0.12)
    shift_negative: float = ruled(rules.number(), 0.46)
    search_steps: int = ruled(rules.whole_number(2), 400)
    near_zero: float = ruled(_SHARE, 0.75)
    near_one: float = ruled(_SHARE, 0.1)
    probe: str = ruled(rules.choice("kmeans", "reference"), "kmeans")
    tokens: int = ruled(rules.whole_number(1), 50_000)
    mirror: bool = ruled(rules.flag, False)
    lr: float = ruled(rules.positive, 5e-4)
    probe_lr: float = ruled(rules.positive, 5e-3)
    steps: int = ruled(rules.whole_number(1), 2_000)
    batch_size: int = ruled(rules.whole_number(2), 16)
    checkpoint_every: int = ruled(rules.whole_number(1), 200)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters with their fits."""
    return StegoSettings.resolved(entry, shared, "k", "kmeans_seeds", "kmeans")


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings."""
    return on_views(TRAITS, settings)
