"""What the fields of a method's settings may be: one rule a field, one sentence with all that is wrong.

Example:
    >>> rules = {"layers": whole_number(1), "centre": choice("none", "mean"), "lr": positive}
    >>> problems({"layers": 0, "centre": "mean", "lr": 1e-3}, rules)
    ['layers is 0, it must be at least 1']
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from patchbank.errors import UserError

Rule = Callable[[str, Any], str | None]
"""From a field's name and value to what is wrong with it, or None."""


def problems(values: Mapping[str, Any], rules: Mapping[str, Rule]) -> list[str]:
    """What is wrong with the values of a settings class, in their order; every field needs a rule."""
    return [problem for name, value in values.items() if (problem := rules[name](name, value))]


def refuse(title: str, wrong: Sequence[str]) -> None:
    """Raise one `UserError` with all problems, if there are any.

    Args:
        title: the method as messages call it.
        wrong: problems.
    """
    if wrong:
        raise UserError(f"{title} settings: {'; '.join(wrong)}.")


def choice(*options: str) -> Rule:
    """One of some words."""
    return lambda name, value: None if value in options else f"{name} is {value!r}, choose {' | '.join(options)}"


def flag(name: str, value: Any) -> str | None:
    """True or false; 0 and 1 are not."""
    return None if isinstance(value, bool) else f"{name} is {value!r}, it must be true or false"


def whole_number(least: int) -> Rule:
    """A whole number of at least `least`."""

    def rule(name: str, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{name} is {value!r}, it must be a whole number"
        return None if value >= least else f"{name} is {value}, it must be at least {least}"

    return rule


def number(demand: str = "", allowed: Callable[[float], bool] = lambda _: True) -> Rule:
    """A finite number.

    Args:
        demand: what it must be besides, as in ``"must be above 0"``.
        allowed: whether a finite number is that.
    """

    def rule(name: str, value: Any) -> str | None:
        if not is_number(value):
            return f"{name} is {value!r}, it must be a finite number (in YAML write 5.0e-4, as 5e-4 is a string)"
        return None if allowed(value) else f"{name} is {value}, it {demand}"

    return rule


positive = number("must be above 0", lambda value: value > 0)
"""A finite number above 0."""
not_negative = number("must not be negative", lambda value: value >= 0)
"""A finite number of at least 0."""


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def check_heads(title: str, heads: int, width: int) -> None:
    """Raise `UserError` when tokens of `width` values cannot be split into `heads` attention heads."""
    if width % heads:
        fitting = ", ".join(str(count) for count in range(1, 17) if width % count == 0)
        problem = f"heads is {heads}, which does not divide the tokens' width {width}; up to 16 these do: {fitting}"
        refuse(title, [problem])
