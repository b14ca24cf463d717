"""What the fields of a method's settings may be: one rule a field, one sentence with all that is wrong.

Example:
    >>> @dataclass(frozen=True)
    ... class HeadSettings(Settings):
    ...     TITLE = "Head"
    ...     layers: int = ruled(whole_number(1), 2)
    ...     lr: float = ruled(positive, 1e-3)
    >>> HeadSettings(layers=0)
    Traceback (most recent call last):
    patchbank.errors.UserError: Head settings: layers is 0, it must be at least 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

from patchbank.errors import UserError
from patchbank.methods.shape import refuse_unknown

Rule = Callable[[str, Any], str | None]
"""From a field's name and value to what is wrong with it, or None."""


def ruled(rule: Rule, default: Any = MISSING) -> Any:
    """A field of `Settings`: what its values may be, and its default."""
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True)
class Settings:
    """Settings of a method, whose fields are `ruled`; impossible values are refused, all of them in one sentence.

    A problem between fields is named by `combined`.
    """

    TITLE: ClassVar[str]
    """The method as messages call it."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        rules = {one.name: one.metadata["rule"] for one in fields(self)}
        wrong = [problem for name, rule in rules.items() if (problem := rule(name, getattr(self, name)))]
        refuse(self.TITLE, [*wrong, *self.combined(wrong)])

    def combined(self, wrong: Sequence[str]) -> list[str]:
        """What is wrong between fields; `wrong` are the problems of single ones."""
        return []

    @classmethod
    def names(cls) -> list[str]:
        """Names of the fields."""
        return [one.name for one in fields(cls)]

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Settings from a configuration; keys left out keep their defaults, unknown keys raise `UserError`."""
        refuse_unknown(f"{cls.TITLE} settings", values, cls.names())
        return cls(**values)

    @classmethod
    def part_of(cls, resolved: Mapping[str, Any]) -> Self:
        """The part of resolved settings that belongs to the head; what records of before do not have is the default."""
        return cls(**{name: resolved[name] for name in cls.names() if name in resolved})

    @classmethod
    def resolved(cls, entry: Mapping[str, Any], shared: Mapping[str, Any], *names: str) -> dict[str, Any]:
        """Complete, checked settings from the method's entry, and those that every k-means of the set has in common.

        Args:
            entry: of the configuration.
            shared: see `patchbank.methods.shape.Configured.resolve`.
            names: which of the shared ones.
        """
        refuse_unknown(cls.TITLE, entry, cls.names())
        copies = {name: dict(value) if isinstance(value := shared[name], Mapping) else list(value) for name in names}
        return {**asdict(cls(**entry)), **copies}


def refuse(title: str, wrong: Sequence[str]) -> None:
    """Raise one `UserError` with all problems, if there are any.

    Args:
        title: the method as messages call it.
        wrong: problems.
    """
    if wrong:
        raise UserError(f"{title} settings: {'; '.join(wrong)}.")


def refuse_background_alone(title: str, numbers: Sequence[int], way_out: str = "") -> None:
    """Raise `UserError` where a number of classes K leaves none beside the background.

    Args:
        title: the method as messages call it.
        numbers: all K of the set.
        way_out: besides a larger K, as in ``", or background: false"``.
    """
    few = [k for k in numbers if k < 2]
    if few:
        raise UserError(
            f"{title} has one cluster for the background and needs 2 or more; K is {few[0]}: ask for more{way_out}."
        )


def choice(*options: str) -> Rule:
    """One of some words."""
    return lambda name, value: None if value in options else f"{name} is {value!r}, choose {' | '.join(options)}"


def text(name: str, value: Any) -> str | None:
    """A text, which may be empty."""
    return None if isinstance(value, str) else f"{name} is {value!r}, it must be a text"


def flag(name: str, value: Any) -> str | None:
    """True or false; 0 and 1 are not."""
    return None if isinstance(value, bool) else f"{name} is {value!r}, it must be true or false"


def whole_number(least: int, most: int | None = None) -> Rule:
    """A whole number of at least `least`, and at most `most` where there is such a limit."""

    def rule(name: str, value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{name} is {value!r}, it must be a whole number"
        if most is not None and not least <= value <= most:
            return f"{name} is {value}, it must lie in {least} to {most}"
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
below_one = number("must lie in [0, 1)", lambda value: 0 <= value < 1)
"""A share that is never all: of values that are dropped, or of what a mean keeps."""


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def check_heads(title: str, heads: int, width: int) -> None:
    """Raise `UserError` when tokens of `width` values cannot be split into `heads` attention heads."""
    if width % heads:
        fitting = ", ".join(str(count) for count in range(1, 17) if width % count == 0)
        problem = f"heads is {heads}, which does not divide the tokens' width {width}; up to 16 these do: {fitting}"
        refuse(title, [problem])
