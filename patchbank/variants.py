"""Names of clusterings: ``k<K>-s<seed>`` for K clusters asked for and a k-means seed.

Variants of prediction files, tables of segment clusters and tensors of checkpoints carry them.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"k(\d+)-s(\d+)")


def variant_name(k: int, seed: int) -> str:
    """The name of a clustering."""
    return f"k{k}-s{seed}"


def is_variant(name: str) -> bool:
    """Whether a name is that of a clustering."""
    return _NAME.fullmatch(name) is not None


def k_and_seed(name: str) -> tuple[int, int]:
    """Number of clusters asked for and k-means seed, by which variants are sorted.

    Raises:
        ValueError: the name is not that of a clustering.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"variant {name!r} is not named k<K>-s<seed>.")
    return int(match[1]), int(match[2])
