"""Which settings of recipes make no sense, in words, and which recipe they ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from patchbank.views.geometry import MIN_OVERLAP

ONE_BLOCK = frozenset({"dense", "flipped", "lastblock", "pixels", "windows"})
"""Recipes that encode by themselves (`patchbank.views.base.EncodingRecipe`), at one block of the encoder a pass."""
WITHOUT_ENCODER = frozenset({"pixels"})
"""Those of them that need no pass of the encoder."""


def recipe_problems(settings: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the settings of a recipe beyond their types, one sentence a problem; nothing for most."""
    if {"global_scale", "local_scale"} <= set(settings):
        yield from scale_problems(settings["global_scale"], settings["local_scale"])
    if settings.get("shift", 1) > 1 and settings.get("resize", "pil") != "pil":
        yield f"shift is {settings['shift']}, which needs resize: pil; received {settings['resize']!r}"


def stored_as(recipe: str, settings: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The recipe that makes a bank, and its settings: `whole` with a `shift` above 1 is `dense`."""
    kept = {key: value for key, value in settings.items() if key != "shift"}
    if recipe == "whole" and settings.get("shift", 1) > 1:
        return "dense", {**kept, "shift": settings["shift"]}
    return recipe, kept


def read_as(recipe: str) -> str:
    """The recipe in whose place methods read a bank."""
    return "whole" if recipe == "dense" else recipe


def scale_problems(global_scale: Sequence[float], local_scale: Sequence[float]) -> Iterator[str]:
    """What is wrong with the bounds of the crops' areas (shares of the image's), one sentence a problem."""
    for name, scale in (("global_scale", global_scale), ("local_scale", local_scale)):
        if scale[0] > scale[1]:
            yield f"{name} is {list(scale)}; the smaller bound comes first"
        elif scale[1] <= MIN_OVERLAP:
            yield (
                f"{name} is {list(scale)}; local crops must share more than {MIN_OVERLAP} of the image with the global"
                f" one, so the larger bound has to be above {MIN_OVERLAP}"
            )
