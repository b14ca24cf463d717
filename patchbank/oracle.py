"""Splits whose labels a row used, as records, scores and tables name them."""

from __future__ import annotations


def splits(*used: str | None) -> str | None:
    """All of them, each once: ``"val"``, ``"train, val"``; None for none.

    Args:
        used: what parts of a row say, in the same words.
    """
    return ", ".join(sorted({split for several in used if several for split in several.split(", ")})) or None
