"""A random sample of a bank's tokens, for what is fitted on tokens and needs not all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.reader import Bank
from patchbank.seeds import generator


def sample_tokens(bank: Bank, sample: int, seed: int) -> NDArray[np.float32]:
    """A random sample of a bank's tokens (m, D), without replacement, the same number (+-1) from every image.

    Memory is bounded by the sample. Of an image only the sampled tokens are read, in the order in which they lie.
    """
    images, per_view = len(bank), bank.views * bank.tokens_per_view
    total = min(sample, images * per_view)
    counts = np.full(images, total // images)
    counts[generator("token-sample", seed).permutation(images)[: total % images]] += 1
    taken = np.empty((total, bank.dim), dtype=np.float32)
    end = 0
    for row, count in enumerate(counts.tolist()):
        if count:
            rng = generator("token-sample", seed, bank.images[row // bank.draws])
            taken[end : end + count] = bank.tokens_at(row, np.sort(rng.choice(per_view, count, replace=False)))
            end += count
    return taken
