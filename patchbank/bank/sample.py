"""A random sample of a bank's tokens, for what is fitted on tokens and needs not all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.reader import Bank
from patchbank.seeds import generator

IMAGES = 4096
"""Samples whose tokens are read together, in the order in which they lie."""


def sample_tokens(bank: Bank, sample: int, seed: int) -> NDArray[np.float32]:
    """A random sample of a bank's tokens (m, D), without replacement, the same number (+-1) from every image.

    Memory is bounded by the sample. Of an image only the sampled tokens are read, in the order in which they lie.
    """
    per_view, counts = bank.views * bank.tokens_per_view, sample_counts(bank, sample, seed)
    taken = np.empty((int(counts.sum()), bank.dim), dtype=np.float32)
    rows, end = np.flatnonzero(counts), 0
    for start in range(0, len(rows), IMAGES):
        part = rows[start : start + IMAGES]
        positions = []
        for row, count in zip(part.tolist(), counts[part].tolist(), strict=True):
            rng = generator("token-sample", seed, bank.images[row // bank.draws])
            positions.append(np.sort(rng.choice(per_view, count, replace=False)))
        tokens = bank.tokens_at(np.repeat(part, counts[part]), np.concatenate(positions))
        taken[end : end + len(tokens)] = tokens
        end += len(tokens)
    return taken


def sample_counts(bank: Bank, sample: int, seed: int) -> NDArray[np.int64]:
    """How many tokens of each of the bank's samples `sample_tokens` takes (n,), one sample after the other."""
    images = len(bank)
    total = min(sample, images * bank.views * bank.tokens_per_view)
    counts = np.full(images, total // images, dtype=np.int64)
    counts[generator("token-sample", seed).permutation(images)[: total % images]] += 1
    return counts
