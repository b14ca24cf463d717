"""Settings of CAUSE-TR, checked once: those of `patchbank.methods.tools.cause.settings`, and its decoder's.

The defaults are our own, for two CPU cores and small sets; what is published stands in
`workflow/settings/cause_tr_*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from patchbank.errors import UserError
from patchbank.methods.shape import Traits
from patchbank.methods.tools import fields as rules
from patchbank.methods.tools.cause.settings import CauseSettings, cause_traits
from patchbank.methods.tools.fields import ruled

TITLE = "CAUSE-TR"
VIEWS = ("whole", "five", "center320")
TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), needs=VIEWS, epochs=True, curves=True)


@dataclass(frozen=True)
class DecoderSettings(CauseSettings):
    """What shapes a trained head, apart from its banks, its statistics and its seed.

    Args:
        views: what it trains on; ``five`` is published. Those of ``five`` and ``center320`` must have the size of whole
            images; windows of them have not.
        block: published.
        hidden: width of the decoder's feed-forward part; 2,048 is published.
        epochs: published.
        probe_epochs: published, with ``probe: reference`` only.
        probe_halving: epochs of the probe after which its learning rate is halved, again and again; published.
        clip: published for COCO-Stuff; 1 for Cityscapes.
        batch_size: a step compares the patches of every view with each other; 16 is published.
    """

    TITLE = TITLE
    LABELLED: ClassVar[tuple[str, ...]] = ("whole",)
    views: str = ruled(rules.choice(*VIEWS), "whole")
    block: int = ruled(rules.whole_number(1), 4)
    hidden: int = ruled(rules.whole_number(1), 512)
    epochs: float = ruled(rules.positive, 2)
    probe_epochs: float = ruled(rules.positive, 5)
    probe_halving: float = ruled(rules.positive, 2)
    clip: float = ruled(rules.positive, 2.0)
    batch_size: int = ruled(rules.whole_number(2), 8)


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Complete, checked settings, and the numbers of clusters with their fits."""
    settings = DecoderSettings.resolved(entry, shared, "k", "kmeans_seeds", "kmeans")
    views = settings["views"]
    if views != "whole":
        _same_size(views, shared["recipes"])
    return settings


def traits(settings: Mapping[str, Any]) -> Traits:
    """Traits under these settings: with the leak, labels are used and rows say so."""
    return cause_traits(TRAITS, settings)


def _same_size(views: str, recipes: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse views that have not the patches of whole images, before anything is extracted."""
    size, whole = recipes[views]["size"], recipes["whole"]
    if whole["size"] not in (size, [size, size]) or whole.get("shift", 1) != 1:
        dense = f" and shift {whole['shift']}" if whole.get("shift", 1) != 1 else ""
        raise UserError(
            f"{TITLE} settings: views is {views!r}, whose size is {size}, and whole images have size {whole['size']}"
            f"{dense}; a position is learned for every patch, so set recipes.whole.size to {size}, without a shift."
        )
