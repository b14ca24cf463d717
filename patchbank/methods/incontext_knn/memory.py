"""The memory: which train patches are kept, and the nearest of them, block by block.

The search is exact (faiss, inner product), on a GPU where faiss finds one. One block of keys is float32 at a time, so
that a memory of millions of patches needs no second copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.centring import EPSILON

BLOCK = 1 << 18
"""Keys searched at a time: 400 MB of a ViT-S's tokens in float32."""
Floats = NDArray[np.float32]


def shares(images: int, memory: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many patches (images,) each image may keep: equally many, and one more for the first of `order`.

    Args:
        images: number of images n.
        memory: patches in all.
        order: permutation (n,) of the images.
    """
    counts = np.full(images, memory // images, np.int64)
    counts[order[: memory % images]] += 1
    return counts


def diverse(pixels: NDArray[np.int64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The patches of one image that are kept, ascending: rare classes and luck first.

    The score of a patch is the number of the image's patches that hold a class, added over its classes, times a number
    drawn from 0 to 1; the patches with the lowest scores are kept, first on ties.

    Args:
        pixels: (N, C) labelled pixels of each class in every patch.
        count: how many are kept, at most: a patch without a labelled pixel never is.
        rng: draws one number for each labelled patch.
    """
    labelled = np.flatnonzero(pixels.any(1))
    holds = pixels[labelled] > 0
    scores = (holds @ holds.sum(0)) * rng.random(len(labelled))
    kept: NDArray[np.int64] = np.sort(labelled[np.argsort(scores, kind="stable")[:count]])
    return kept


def unit(tokens: NDArray[np.floating]) -> Floats:
    """Tokens (n, D) as float32 of unit length; zeros stay zeros."""
    values = tokens.astype(np.float32)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), EPSILON)
    return values


def blocks(tokens: NDArray[np.floating], size: int = BLOCK) -> Iterator[Floats]:
    """Keys of unit length, `size` at a time, from stored tokens (M, D)."""
    for start in range(0, len(tokens), size):
        yield unit(tokens[start : start + size])


def nearest(queries: Floats, keys: Iterator[Floats], neighbours: int) -> tuple[Floats, NDArray[np.int64]]:
    """The nearest keys of every query.

    Args:
        queries: (n, D) of unit length.
        keys: blocks (m, D) of unit length.
        neighbours: how many, or as many as there are keys.

    Returns:
        cosines (n, k) float32, the largest first, and the keys' numbers (n, k) over all blocks.
    """
    best, index, start = np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64), 0
    for block in keys:
        cosines, columns = _search(queries, block, min(neighbours, len(block)))
        best = np.concatenate([best, cosines], axis=1)
        index = np.concatenate([index, columns + start], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :neighbours]
        best, index = np.take_along_axis(best, order, 1), np.take_along_axis(index, order, 1)
        start += len(block)
    return best, index


def attend(cosines: Floats, values: Floats, beta: float) -> Floats:
    """Class probabilities (n, C): the mean of the neighbours' values, weighted with softmax(cosine / beta).

    Args:
        cosines: (n, k).
        values: (n, k, C) shares of the classes.
        beta: temperature, above 0.
    """
    weights = np.exp((cosines - cosines.max(1, keepdims=True)) / np.float32(beta))
    weights /= weights.sum(1, keepdims=True)
    probabilities: Floats = np.einsum("nk,nkc->nc", weights, values)
    return probabilities


def _search(queries: Floats, keys: Floats, neighbours: int) -> tuple[Floats, NDArray[np.int64]]:
    """faiss: cosines (n, k) and columns (n, k) of one block, without an index that would copy it."""
    import faiss

    if faiss.get_num_gpus() > 0:
        return faiss.knn_gpu(_gpu(), queries, keys, neighbours, metric=faiss.METRIC_INNER_PRODUCT)
    return faiss.knn(queries, keys, neighbours, metric=faiss.METRIC_INNER_PRODUCT)


@cache
def _gpu() -> Any:
    """Memory that faiss works with on the GPU."""
    import faiss

    return faiss.StandardGpuResources()
