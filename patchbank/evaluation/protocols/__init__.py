"""The protocols, one file each; a new file in this folder is a new protocol.

The file's name is the protocol's id (spec/protocols.md), and it defines

- `CLUSTERS`: which segments it scores: ``"image"`` (ids of one image, any number), ``"classes"`` (one cluster per
  class, K = number of classes) or ``"more"`` (more clusters than classes);
- `LABELS`: the label kind it needs, ``"class"`` or ``"instance"``;
- `CLASS_MEAN = False`, only where its score is no mean over classes;
- `PREPROCESSING`, only where it has one of its own, at which it is always scored, whatever the configuration says;
- `evaluate(counts) -> dict[str, Score]`: its scores by variant (``""`` where there is one only);
- `terms(counts) -> dict[str, Terms]`, optional: what each image brings to these scores, for comparisons with
  intervals (`patchbank.evaluation.paired`).

Files are found by name, so `patchbank.fingerprint` cannot see them from an import: a fingerprint of the score stage
adds `modules()`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from patchbank.errors import UserError
from patchbank.evaluation.counts import Counts, LabelKind
from patchbank.evaluation.measures import Score
from patchbank.evaluation.terms import Terms


@dataclass(frozen=True)
class Protocol:
    """One protocol, as its file defines it."""

    name: str
    clusters: Literal["image", "classes", "more"]
    labels: LabelKind
    evaluate: Callable[[Counts], dict[str, Score]]
    preprocessing: str | None = None
    class_mean: bool = True
    terms: Callable[[Counts], dict[str, Terms]] | None = None


@cache
def names() -> tuple[str, ...]:
    """Ids of all protocols, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def modules() -> list[str]:
    """Dotted names of all protocol modules, for `patchbank.fingerprint.code_fingerprint`."""
    return [f"{__name__}.{name}" for name in names()]


@cache
def get(name: str) -> Protocol:
    """Load one protocol.

    Raises:
        UserError: there is no file of that name.
    """
    if name not in names():
        raise UserError(f"protocol is {name!r}; choose one of {', '.join(names())}.")
    module = importlib.import_module(f"{__name__}.{name}")
    preprocessing, terms = getattr(module, "PREPROCESSING", None), getattr(module, "terms", None)
    class_mean = getattr(module, "CLASS_MEAN", True)
    return Protocol(name, module.CLUSTERS, module.LABELS, module.evaluate, preprocessing, class_mean, terms)
