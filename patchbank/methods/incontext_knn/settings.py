"""Settings of the ceilings `incontext-knn-m<memory>-b<beta>`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

from patchbank.errors import UserError
from patchbank.methods.shape import Traits, refuse_unknown

TRAITS = Traits(kind="classes", trained=True, recipes=("whole",), ceiling=True, one_seed=True, oracle="train")
MEMORIES = (10_240, 102_400, 1_024_000)
"""Of the rows under `ceilings`: what a small set on a processor needs, and two sizes of open-hummingbird."""
BETAS = (0.02, 0.07)
"""Both are in use."""
_NAMED = {f"incontext-knn-m{memory}-b{beta}": (memory, beta) for memory, beta in product(MEMORIES, BETAS)}
ROWS = dict.fromkeys(_NAMED, TRAITS)


@dataclass(frozen=True)
class KNNSettings:
    """The memory and the attention.

    Attributes:
        memory: how many labelled train patches are kept, at most; 0: all of them.
        neighbours: nearest keys that a patch attends to.
        beta: cosines are divided by it before the softmax.
    """

    memory: int = 102_400
    neighbours: int = 30
    beta: float = 0.02

    def __post_init__(self) -> None:
        for name, least in (("memory", 0), ("neighbours", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise UserError(f"incontext-knn: {name} is {value!r}; it has to be a whole number of at least {least}.")
        if isinstance(self.beta, bool) or not isinstance(self.beta, int | float) or not 0 < self.beta < float("inf"):
            raise UserError(f"incontext-knn: beta is {self.beta!r}; it has to be a number above 0, such as 0.02.")

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> KNNSettings:
        """From what `resolve` returned."""
        return cls(**{field.name: settings[field.name] for field in fields(cls)})


def resolve(entry: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Memory and attention, of a row's name or as an entry under `methods` says.

    The classes are stored under every number of clusters, so that every protocol has them.
    """
    known = [field.name for field in fields(KNNSettings)]
    refuse_unknown("incontext-knn", entry, [*known, "row"])
    memory, beta = _NAMED.get(entry.get("row", ""), (KNNSettings.memory, KNNSettings.beta))
    own = {"memory": memory, "beta": beta, **{key: value for key, value in entry.items() if key in known}}
    same = {"k": list(shared["k"]), "kmeans_seeds": list(shared["kmeans_seeds"])[:1]}
    return {**asdict(KNNSettings(**own)), **same}
