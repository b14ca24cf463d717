"""A metric learned without labels: directions in which segments differ from each other more than inside themselves.

Linear discriminant analysis (Fisher 1936; Rao 1948) with the head's own segments in place of classes. Inside a segment
of one image tokens differ by place, texture and light; between segments, of all images, by what they show. With S_w
the scatter of unit tokens around the mean of their segment and S_b that of the segments' embeddings, the metric's
columns are the leading solutions of S_b v = lambda (S_w + shrink tr(S_w) / D I) v, scaled so that v^T S_w v = 1: the
scatter inside segments is whitened, where PCA would whiten the scatter of everything.

Fitted at the end of training on the global crops of draw 0 of the training bank. The head uses it to divide an image
(`grouping`) and hands it, in its predictions, to the clustering of segments over the whole set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import linalg
from torch import Tensor
from torch.nn import functional

from patchbank.methods.alignseg.grouping import group
from patchbank.methods.alignseg.model import QueryDecoder, normalise
from patchbank.methods.alignseg.pooling import prepare_tokens
from patchbank.progress import track
from patchbank.seeds import generator

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

IMAGES = 5_000
"""The most images that scatters are measured on, drawn at random; bounds the time."""
_BLOCK = 32


@torch.no_grad()
def fit_metric(
    bank: Bank,
    model: QueryDecoder,
    shift: Tensor | None,
    scale: Tensor | None,
    dims: int,
    shrink: float,
    refine: int,
    seed: int,
) -> Tensor:
    """The metric of a trained decoder.

    Args:
        bank: the training bank; view 0 of draw 0 of each image is read.
        model: the decoder.
        shift, scale: (D,) what the head does to tokens first, see `pooling.prepare_tokens`.
        dims: columns d of the metric.
        shrink: share of the mean variance that is added to every direction inside segments.
        refine: k-means steps that shape the segments.
        seed: of the training; chooses the images where there are more than `IMAGES`.

    Returns:
        (D, d) float32 on the CPU; the largest entry of each column is positive.
    """
    device, dim = model.queries.device, bank.dim
    chosen = np.sort(generator("metric", seed).permutation(len(bank.images))[:IMAGES]) * bank.draws
    inside = torch.zeros(dim, dim, dtype=torch.float64, device=device)
    between, total = torch.zeros_like(inside), torch.zeros(dim, dtype=torch.float64, device=device)
    tokens_seen = segments_seen = 0
    for start in track(range(0, len(chosen), _BLOCK), "metric", unit="block"):
        stored = torch.from_numpy(bank.read(chosen[start : start + _BLOCK], ("tokens",))["tokens"][:, 0]).to(device)
        tokens = torch.empty(stored.shape, dtype=torch.float32, device=device)
        inverse_norms = prepare_tokens(stored, tokens, shift, scale)
        scores = group(tokens, inverse_norms, model(tokens), refine)
        won = functional.one_hot(scores.argmax(1), scores.shape[1]).transpose(1, 2).float()
        sizes = won.sum(-1, keepdim=True)
        unit = tokens * inverse_norms[..., None]
        apart = (unit - won.transpose(1, 2) @ (won @ unit / sizes.clamp(min=1))).flatten(0, 1).double()
        inside += apart.T @ apart
        embeddings = normalise(won @ tokens)[sizes[..., 0] > 0].double()
        between += embeddings.T @ embeddings
        total += embeddings.sum(0)
        tokens_seen, segments_seen = tokens_seen + len(apart), segments_seen + len(embeddings)
    mean = total / segments_seen
    directions = leading_directions(
        (between / segments_seen - torch.outer(mean, mean)).cpu().numpy(),
        (inside / tokens_seen).cpu().numpy(),
        dims,
        shrink,
    )
    return torch.from_numpy(directions).float()


def leading_directions(
    between: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    inside: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    dims: int,
    shrink: float,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The `dims` directions (D, d) with the largest ratio of the scatter `between` to `inside`, both (D, D) float64."""
    dim = len(inside)
    steady = inside + shrink * np.trace(inside) / dim * np.eye(dim)
    _, vectors = linalg.eigh(between, steady, subset_by_index=(dim - dims, dim - 1))
    vectors = vectors[:, ::-1]
    signed: np.ndarray[tuple[int, ...], np.dtype[np.float64]] = vectors * np.sign(
        vectors[np.abs(vectors).argmax(0), np.arange(dims)]
    )
    return signed
