"""One seed per random decision, derived from what the decision is about and never from the order of work.

Shapes the values of banks (`patchbank.bank.identity`).

`generator("crop", seed, image_id, draw)` gives the same stream whichever worker draws it, and whatever was drawn
before.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive(*parts: str | int) -> int:
    """A 63-bit seed from the parts, equal on every machine; parts of different type or order differ."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: str | int) -> np.random.Generator:
    """A NumPy generator seeded with `derive(*parts)`."""
    return np.random.default_rng(derive(*parts))
