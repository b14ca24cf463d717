"""Progress of long work: a bar on stderr for a person at a terminal, nothing for a log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

from patchbank.stopping import check as end_if_asked

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, unit: str = "it", total: int | None = None) -> Iterator[Item]:
    """Iterate over `items` with a tqdm bar on stderr when that is a terminal; end behind an item where SIGTERM came."""
    bar = tqdm(
        items,
        desc=description,
        unit=unit,
        total=total,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
    for item in bar:
        yield item
        end_if_asked()


@contextmanager
def meter(total: int | None, start: int, description: str) -> Iterator[Callable[[int], object]]:
    """A bar of bytes on stderr when that is a terminal; yields the function that takes how many have come.

    Args:
        total: bytes of the whole, None where it is not known.
        start: bytes that are there already.
    """
    bar = tqdm(
        total=total,
        initial=start,
        desc=description,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
    with bar:
        yield bar.update
