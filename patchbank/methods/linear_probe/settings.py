"""Settings of the ceiling `linear-probe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from patchbank.methods.shape import Traits, refuse_unknown

TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), ceiling=True, one_seed=True, oracle="train")


@dataclass(frozen=True)
class ProbeSettings:
    """The fit; the defaults were chosen to be cheap and without a look at any score.

    Attributes:
        images: how many train images give tokens, drawn at random; bounds time.
        sample: about how many labelled tokens are fitted, the same number from every image; bounds time and memory.
        weight_decay: half its product with the squared weights is added to the mean cross entropy.
        iterations: of L-BFGS, at most.
    """

    images: int = 2_000
    sample: int = 20_000
    weight_decay: float = 1e-3
    iterations: int = 100


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """The fit, and the numbers of clusters under which the classes are stored, so that every protocol has them."""
    refuse_unknown("linear-probe", entry, [field.name for field in fields(ProbeSettings)])
    same = {"k": list(shared["k"]), "kmeans_seeds": list(shared["kmeans_seeds"])[:1]}
    return {**asdict(ProbeSettings(**entry)), **same}
