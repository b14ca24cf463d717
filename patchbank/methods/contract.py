"""What the pipeline has to know of a method before it runs: a few traits, declared in the method's own folder.

A method is a folder of `patchbank/methods` with `settings.py`, `predict.py` and, where it learns something, `train.py`.
`settings.py` declares ``TRAITS`` and ``resolve(own, shared)``, and where it needs them ``recipes(settings)`` (the banks
that are read depend on the settings), ``traits(settings)`` (other traits do) and ``check_width(settings, width)`` (not
every width of the tokens will do). A third method is added by copying that shape; nothing here lists them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from patchbank.errors import UserError


@dataclass(frozen=True)
class Traits:
    """Traits of a method.

    Attributes:
        kind: ``segments`` (ids inside one image, given dataset-wide ids by segment clusters) or ``classes``.
        trained: whether there is a `train.py`.
        recipes: recipes of the bank that training reads (unless `settings.recipes` says it for given settings).
        curves: whether `steps.csv` of training holds losses to draw.
        pictures: recipes of the train split's bank that `pictures.draw` of the method's folder reads; empty where it
            has none. They show what the method makes on its way to a prediction.
        reads: recipes of the bank that prediction reads.
        floor: whether rows are marked as a floor.
        ceiling: whether rows are marked as a ceiling.
        fitted: whether its clusters are fitted on the split that `fit` names; segments' clusters always are.
        oracle: split whose labels it used for training or a choice, ``"train"`` or ``"val"``; None for none. Only with
            one do its stages get the `manifest`, and with it the labels.
    """

    kind: Literal["segments", "classes"]
    trained: bool
    recipes: tuple[str, ...] = ()
    curves: bool = False
    pictures: tuple[str, ...] = ()
    reads: tuple[str, ...] = ("whole",)
    floor: bool = False
    ceiling: bool = False
    fitted: bool = False
    oracle: Literal["train", "val"] | None = None


@dataclass(frozen=True)
class Method:
    """One row of a report: a method or a floor with its resolved settings.

    Attributes:
        name: how rows call it, e.g. ``alignseg`` or ``voronoi-5``.
        folder: folder of `patchbank/methods` that holds it.
        settings: what its stages get.
        seeds: its trainings.
        traits: see `Traits`.
        postprocess: option of `patchbank.evaluation.refine` that is applied when pixels are counted, or none.
        source: row whose predictions and segment clusters it reads, where that is another one.
        trained: row whose checkpoint it predicts with, where that is another one.
        features: recipe of the bank that it reads in place of `whole`.
        oracle: split whose labels chose one of its settings, as the configuration says; its stages are given none.
    """

    name: str
    folder: str
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    traits: Traits
    postprocess: str = ""
    source: str = ""
    trained: str = ""
    features: str = "whole"
    oracle: str | None = None


def traits(folder: str) -> Traits:
    """Traits of the method in folder `folder`; `UserError` names the folders that hold a method."""
    if folder not in method_folders():
        raise UserError(f"There is no method {folder!r}; methods are {', '.join(method_folders())}.")
    return cast(Traits, importlib.import_module(f"patchbank.methods.{folder}.settings").TRAITS)


def method_folders() -> list[str]:
    """Folders of `patchbank/methods` with a method, sorted."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/predict.py"))


def check_width(folder: str, settings: Mapping[str, Any], width: int) -> None:
    """Raise `UserError` when the method in `folder` cannot work with tokens of that width."""
    module = importlib.import_module(f"patchbank.methods.{folder}.settings")
    if hasattr(module, "check_width"):
        module.check_width(settings, width)


def resolve(
    name: str,
    folder: str,
    own: Mapping[str, Any],
    shared: Mapping[str, Any],
    seeds: Sequence[int],
) -> Method:
    """A method from its entry in the configuration.

    Args:
        name: how rows call it.
        folder: folder of `patchbank/methods`.
        own: the entry's values.
        shared: what every k-means of the set has in common (K, seeds, projection), and the settings of `multicrop`.
        seeds: seeds of trainings.

    Raises:
        UserError: for a folder without a method, or values that the method does not accept.
    """
    found = traits(folder)
    module = importlib.import_module(f"patchbank.methods.{folder}.settings")
    settings = module.resolve(own, shared)
    if hasattr(module, "recipes"):
        found = replace(found, recipes=tuple(module.recipes(settings)))
    if hasattr(module, "traits"):
        found = replace(found, **module.traits(settings))
    return Method(name=name, folder=folder, settings=settings, seeds=tuple(seeds), traits=found)
