"""Progress of long work: a bar on stderr for a person at a terminal, nothing for a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, unit: str = "it", total: int | None = None) -> Iterator[Item]:
    """Iterate over `items` with a tqdm bar on stderr when that is a terminal."""
    bar = tqdm(
        items,
        desc=description,
        unit=unit,
        total=total,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
    yield from bar
