"""Both losses of one batch of crops.

Crops of a batch lie image-major, as the bank stores them: crop `b * V + v` is view v of image b; view 0 is the global
crop, the others are local ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from patchbank.methods.alignseg.losses import pair_crops, patch_alignment, query_alignment
from patchbank.methods.alignseg.model import QueryDecoder, normalise
from patchbank.methods.alignseg.pooling import assignment_pool
from patchbank.methods.alignseg.settings import AlignSegSettings


@dataclass(frozen=True)
class Crops:
    """A batch on the device; B images, V views of each.

    Attributes:
        tokens: (B * V, N, D) float32, centred.
        inverse_norms: (B * V, N), 1 / length of each token.
        foreground: (B, V, N), 1 where a patch of that view is foreground, else 0.
    """

    tokens: Tensor
    inverse_norms: Tensor
    foreground: Tensor


@dataclass(frozen=True)
class Losses:
    """Scalars of a step, and the decoder's output.

    Attributes:
        patch, query, total: losses; `total` is their sum.
        used_segments: mean number of distinct best queries in a global crop.
        queries: (B, V, Q, D), not normalised.
    """

    patch: Tensor
    query: Tensor
    total: Tensor
    used_segments: Tensor
    queries: Tensor


def batch_losses(model: QueryDecoder, crops: Crops, settings: AlignSegSettings) -> Losses:
    """Run the decoder on all crops and compare global with local ones.

    Args:
        model: the decoder.
        crops: the batch.
        settings: `pairing` and `pressure` are used.
    """
    batch, views, _ = crops.foreground.shape
    image, local = pair_crops(settings.pairing, batch, views - 1, crops.tokens.device)
    flat_queries = model(crops.tokens)
    flat_pooled, flat_mass, flat_means, cosines = assignment_pool(
        crops.tokens,
        crops.inverse_norms,
        _mask_of_crop(crops.foreground, image, local).flatten(0, 1),
        normalise(flat_queries),
    )
    queries, pooled, mass, means = (
        part.view(batch, views, *part.shape[1:]) for part in (flat_queries, flat_pooled, flat_mass, flat_means)
    )
    patch = patch_alignment(
        (pooled[:, 0], pooled[image, 1 + local]),
        (mass[:, 0], mass[image, 1 + local]),
        (means[:, 0], means[image, 1 + local]),
        settings.pressure,
    )
    query = query_alignment(queries[:, 0], queries[image, 1 + local])
    return Losses(patch, query, patch + query, _used_segments(cosines[::views]), queries)


def _mask_of_crop(foreground: Tensor, image: Tensor, local: Tensor) -> Tensor:
    """Mask that every crop's tokens meet: of pair (b, i) always the one of local crop i of image b.

    With ``pairing="reference"`` the pair's tokens are another image's: the published code mixes the tokens only.
    """
    met = foreground.clone()
    met[image, 1 + local] = foreground[:, 1:]
    return met


def _used_segments(cosines: Tensor) -> Tensor:
    """Mean number of distinct best queries over crops, from cosines (B, Q, N)."""
    best = functional.one_hot(cosines.argmax(1), cosines.shape[1])
    return best.any(1).sum(1).float().mean()
