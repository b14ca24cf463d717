"""Settings of CAUSE-MLP, checked once.

The defaults are our own: no label anywhere, k-means on the final codes, centred tokens, and a memory, codebook and
projection that two CPU cores can bear. What is published stands in `workflow/settings/cause_mlp_*.yaml`.
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

TITLE = "CAUSE-MLP"
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), curves=True)


@dataclass(frozen=True)
class CauseSettings:
    """What shapes a trained head, apart from its banks, its statistics and its seed.

    Args:
        views: what it trains on (`patchbank.methods.tools.training_views`); ``five`` is published.
        centre: what is done to tokens first; ``none`` is published.
        width: R of the codes.
        projection: width P of what is compared; 2,048 is published.
        codes: M, rows of the codebook; 2,048 is published.
        memory: stored projections of a code; 100 is published.
        block: side of the blocks of patches of which one each is used; 4 is published.
        dropout: share of a token's values that the head does not see.
        probe: ``kmeans`` clusters the final codes; ``reference`` learns the classes by modularity.
        supervised_leak: ``none``; ``reference`` lets labels of the train split clip the gradients of the second phase
            and move the head in the third, as published, at the size of patches (rows are marked ``oracle: train``).
        tokens: train tokens whose codes are clustered.
        mirror: whether scores are averaged with those of the mirror image (bank `mirrored`); published.
        mediator_epochs, epochs, probe_epochs: of the codebook, the head, and the probe.
        lr: of Adam; the published 1e-3 times four GPUs.
        weight_decay: L2 term in the gradient of the second phase; 0 for Cityscapes.
        clip: norm that gradients of the second phase are clipped to.
        batch_size: views of a step.
        checkpoint_every: steps between two resumable states.
    """

    views: str = "windows"
    centre: str = "mean"
    width: int = 90
    projection: int = 256
    codes: int = 256
    memory: int = 32
    block: int = 2
    dropout: float = 0.1
    probe: str = "kmeans"
    supervised_leak: str = "none"
    tokens: int = 50_000
    mirror: bool = False
    mediator_epochs: int = 1
    epochs: int = 4
    probe_epochs: int = 1
    lr: float = 4e-3
    weight_decay: float = 1e-4
    clip: float = 0.1
    batch_size: int = 16
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        """Refuse impossible values, all of them in one sentence."""
        wrong = problems(vars(self), _RULES)
        if self.supervised_leak == "reference" and self.views not in ("windows", "whole"):
            wrong.append(f"views is {self.views!r} with supervised_leak, whose labels are those of windows or whole")
        refuse(TITLE, wrong)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> CauseSettings:
        """The part of resolved settings that belongs to the head."""
        return cls(**{field.name: values[field.name] for field in fields(cls)})


def resolve(own: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters with their fits."""
    refuse_unknown(TITLE, own, [field.name for field in fields(CauseSettings)])
    same = {"k": list(shared["k"]), "kmeans_seeds": list(shared["kmeans_seeds"]), "kmeans": dict(shared["kmeans"])}
    return {**asdict(CauseSettings(**own)), **same}


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings: with the leak, labels are used and rows say so."""
    reads = ("whole", "mirrored") if settings["mirror"] else ("whole",)
    found = replace(TRAITS, recipes=recipes(settings["views"]), reads=reads)
    return replace(found, oracle="train") if settings["supervised_leak"] == "reference" else found


_RULES: Mapping[str, Rule] = {
    "views": choice(*VIEWS),
    "centre": choice("none", "mean", "standardise"),
    "width": whole_number(1),
    "projection": whole_number(1),
    "codes": whole_number(2),
    "memory": whole_number(1),
    "block": whole_number(1),
    "dropout": number("must lie in [0, 1)", lambda value: 0 <= value < 1),
    "probe": choice("kmeans", "reference"),
    "supervised_leak": choice("none", "reference"),
    "tokens": whole_number(1),
    "mirror": flag,
    "mediator_epochs": whole_number(1),
    "epochs": whole_number(1),
    "probe_epochs": whole_number(1),
    "lr": positive,
    "weight_decay": not_negative,
    "clip": positive,
    "batch_size": whole_number(2),
    "checkpoint_every": whole_number(1),
}
