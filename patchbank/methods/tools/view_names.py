"""Names of the views that heads on single tokens train on, for settings; `training_views` makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from patchbank.methods.shape import Traits

VIEWS = ("five", "windows", "random", "whole", "center320")


def training_recipe(views: str) -> str:
    """Recipe of the bank that these views are read from."""
    return views if views in ("five", "center320") else "whole"


def recipes(views: str) -> tuple[str, ...]:
    """Recipes of the banks that a training on these views reads: final codes are those of whole images."""
    return tuple(dict.fromkeys((training_recipe(views), "whole")))


def on_views(traits: Traits, settings: Mapping[str, Any]) -> Traits:
    """Traits of a head under its settings `views` and `mirror`: which banks it trains on and predicts from."""
    reads = ("whole", "mirrored") if settings["mirror"] else ("whole",)
    return replace(traits, recipes=recipes(settings["views"]), reads=reads)
