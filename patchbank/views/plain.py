"""Views of other recipes, for recipes that make something else of the same ones."""

from __future__ import annotations

from collections.abc import Sequence

from patchbank.errors import UserError
from patchbank.views import center320, whole
from patchbank.views.resize import Rule


def plain_views(
    name: str, patch: int, of: str, size: int | Sequence[int], resize: Rule
) -> center320.Recipe | whole.Recipe:
    """The recipe whose views those of recipe `name` are.

    Raises:
        UserError: a size that views of `of` do not have.
    """
    if of == "whole":
        return whole.Recipe(patch, size, resize)
    if isinstance(size, int):
        return center320.Recipe(patch, size, resize)
    raise UserError(f"recipes.{name}.size is {list(size)}, and the views of center320 have one side; give it.")
