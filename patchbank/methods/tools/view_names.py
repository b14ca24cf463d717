"""Names of the views that heads on single tokens train on, for settings; `training_views` makes them."""

from __future__ import annotations

VIEWS = ("five", "windows", "random", "whole", "center320")


def training_recipe(views: str) -> str:
    """Recipe of the bank that these views are read from."""
    return views if views in ("five", "center320") else "whole"


def recipes(views: str) -> tuple[str, ...]:
    """Recipes of the banks that a training on these views reads: final codes are those of whole images."""
    return tuple(dict.fromkeys((training_recipe(views), "whole")))
