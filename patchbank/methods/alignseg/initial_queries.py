"""``initial_queries: kmeans``: queries start where the train tokens are, not anywhere.

Spherical k-means of a random sample of centred train tokens (those of the global crops of draw 0, the same number from
every image); query q points to centroid q and keeps the length of the standard-normal query that it replaces, so that
nothing but the direction changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchbank.clustering.kmeans import KMeansSettings, fit_kmeans
from patchbank.methods.alignseg.model import normalise
from patchbank.methods.alignseg.pooling import prepare_tokens
from patchbank.progress import track
from patchbank.seeds import derive, generator

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

SAMPLE, IMAGES = 20_000, 2_000
"""Tokens that are clustered, and the most images that they are taken from."""


def kmeans_queries(bank: Bank, normal: Tensor, shift: Tensor | None, scale: Tensor | None, seed: int) -> Tensor:
    """Queries in the directions of k-means centroids.

    Args:
        bank: the training bank; view 0 is the global crop.
        normal: (Q, D) standard-normal queries.
        shift, scale: (D,) what the head does to tokens first, see `pooling.prepare_tokens`.
        seed: of the training.

    Returns:
        (Q, D), on the device of `normal`.
    """
    stored = torch.from_numpy(_sample(bank, seed))[None].to(normal.device)
    tokens = torch.empty(stored.shape, dtype=torch.float32, device=normal.device)
    unit = tokens[0] * prepare_tokens(stored, tokens, shift, scale)[0, :, None]
    fit = fit_kmeans(unit.cpu().numpy(), len(normal), derive("initial queries", seed), KMeansSettings(spherical=True))
    directions = normalise(torch.from_numpy(fit.centroids).to(normal.device))
    queries: Tensor = directions * torch.linalg.vector_norm(normal, dim=1, keepdim=True)
    return queries


def _sample(bank: Bank, seed: int) -> NDArray[Any]:
    """Tokens (n, D) in the stored dtype, the same number from each of at most `IMAGES` random images."""
    images = len(bank.images)
    chosen = np.sort(generator("initial queries", seed).permutation(images)[:IMAGES])
    count = min(bank.tokens_per_view, -(-SAMPLE // len(chosen)))
    taken = np.empty((len(chosen), count, bank.dim), bank.dtype)
    for index, image in enumerate(track(chosen.tolist(), "initial queries", unit="image")):
        tokens = bank.read([image * bank.draws], ("tokens",))["tokens"][0, 0]
        random = generator("initial queries", seed, bank.images[image])
        taken[index] = tokens[np.sort(random.choice(len(tokens), count, replace=False))]
    return taken.reshape(-1, bank.dim)
