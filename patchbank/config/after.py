"""Rows that learn after another row of their set (`patchbank.methods.shape.Following`): whether they can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from patchbank.errors import UserError
from patchbank.methods.contract import Method, oracle_of
from patchbank.oracle import splits


def joined(method: Method, known: Mapping[str, Method]) -> Method:
    """The method as it is after the rows that it learns after: labels that these used count as its own.

    Args:
        method: a row of a set, or of an ablation.
        known: the methods of the set whose trainings it reads, by name.

    Raises:
        UserError: such a row does not exist, gives tokens no codes, or comes after itself.
    """
    chain: list[Method] = []
    row = method
    while row.after:
        if row.after not in known:
            raise UserError(f"{row.name} learns after {row.after!r}, which is no row of its set; {_able(known)}.")
        following = known[row.after]
        if following is method or row.after in [passed.name for passed in chain]:
            told = ", after ".join([*(passed.name for passed in chain), row.after])
            raise UserError(f"{method.name} learns after {told}, which is a circle; {_able(known)}.")
        chain.append(following)
        row = following
    for row in chain:
        if not row.traits.codes:
            raise UserError(f"{method.name} learns after {row.name!r}, which gives tokens no codes; {_able(known)}.")
    return replace(method, oracle=splits(*map(oracle_of, (method, *chain)))) if chain else method


def _able(known: Mapping[str, Method]) -> str:
    """The rows that others may learn after, in words."""
    names = [row.name for row in known.values() if row.traits.codes]
    return f"rows with codes are {', '.join(names)}" if names else "the set has no row with codes"
