"""What CAUSE-MLP and CAUSE-TR are asked for alike, checked once.

The defaults are our own: no label anywhere, k-means on the final codes, centred tokens, and a memory, codebook and
projection that two CPU cores can bear. What is published stands in `workflow/settings/cause_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.fields import Settings, ruled
from patchbank.methods.tools.view_names import VIEWS, on_views


@dataclass(frozen=True)
class CauseSettings(Settings):
    """What shapes a trained head, apart from its banks, its statistics and its seed.

    Args:
        views: what it trains on (`patchbank.methods.tools.training_views`); ``five`` is published.
        centre: what is done to tokens first; ``none`` is published.
        width: R of the codes.
        projection: width P of what is compared; 2,048 is published.
        codes: M, rows of the codebook; 2,048 is published.
        memory: stored projections of a code; 100 is published.
        block: side of the blocks of patches of which one each is used; 4 is published.
        dropout: share of the values that the head does not see.
        probe: ``kmeans`` clusters the final codes; ``reference`` learns the classes by modularity.
        supervised_leak: ``none``; ``reference`` lets labels of the train split clip the gradients of the second phase
            and move the head in the third, as published, at the size of patches (rows are marked ``oracle: train``).
        tokens: train tokens whose codes are clustered.
        mirror: whether scores are averaged with those of the mirror image (bank `mirrored`); published.
        mediator_epochs, epochs, probe_epochs: of the codebook, the head, and the probe; shares of one are possible.
        lr: of Adam; the published 1e-3 times four GPUs.
        weight_decay: L2 term in the gradient of the second phase; 0 for Cityscapes.
        clip: norm that gradients of the second phase are clipped to.
        batch_size: views of a step.
        checkpoint_every: steps between two resumable states.
    """

    LABELLED: ClassVar[tuple[str, ...]] = ("windows", "whole")
    """Views whose labels `supervised_leak` can read."""
    views: str = ruled(rules.choice(*VIEWS), "windows")
    centre: str = ruled(rules.choice("none", "mean", "standardise"), "mean")
    width: int = ruled(rules.whole_number(1), 90)
    projection: int = ruled(rules.whole_number(1), 256)
    codes: int = ruled(rules.whole_number(2), 256)
    memory: int = ruled(rules.whole_number(1), 32)
    block: int = ruled(rules.whole_number(1), 2)
    dropout: float = ruled(rules.below_one, 0.1)
    probe: str = ruled(rules.choice("kmeans", "reference"), "kmeans")
    supervised_leak: str = ruled(rules.choice("none", "reference"), "none")
    tokens: int = ruled(rules.whole_number(1), 50_000)
    mirror: bool = ruled(rules.flag, False)
    mediator_epochs: float = ruled(rules.positive, 1)
    epochs: float = ruled(rules.positive, 4)
    probe_epochs: float = ruled(rules.positive, 1)
    lr: float = ruled(rules.positive, 4e-3)
    weight_decay: float = ruled(rules.not_negative, 1e-4)
    clip: float = ruled(rules.positive, 0.1)
    batch_size: int = ruled(rules.whole_number(2), 16)
    checkpoint_every: int = ruled(rules.whole_number(1), 100)

    def combined(self, wrong: Sequence[str]) -> list[str]:
        """Where labels leak in, they have to be there."""
        if self.supervised_leak == "reference" and self.views not in self.LABELLED:
            labelled = " or ".join(self.LABELLED)
            return [f"views is {self.views!r} with supervised_leak, whose labels are those of {labelled}"]
        return []


def cause_traits(traits: Traits, settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings: with the leak, labels are used and rows say so."""
    changed = on_views(traits, settings)
    return replace(changed, oracle="train") if settings["supervised_leak"] == "reference" else changed
