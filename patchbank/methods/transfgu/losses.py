"""The segmenter's losses: category (with a negative target), uncertainty, class embeddings.

Targets come from pseudo-label maps, min-max normalised per image over classes and patches after the crop; once there is
a teacher, mixed half and half with its softmax. With a background channel the first channel is
relu(0.1 - largest thing map), and the uncertainty is that of the things where any thing map exceeds 0.1.

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BACKGROUND = 0.1
"""The background map of a patch is this minus its largest normalised thing map, where that is positive."""
MIX = 0.5
WEIGHTS = {"category": 1.0, "uncertainty": 0.3, "embedding": 1.0}


@dataclass(frozen=True)
class Targets:
    """What a step is compared with.

    Attributes:
        maps: (B, K, N), normalised, background first where there is one, mixed with the teacher where there is one.
        active: (B, N) bool, patches that enter the uncertainty.
        usable: (B,) bool, False for an image whose maps are constant (nothing to learn from it).
    """

    maps: Tensor
    active: Tensor
    usable: Tensor


def make_targets(maps: Tensor, background: bool, teacher: Tensor | None = None) -> Targets:
    """Targets from maps after the crop.

    Args:
        maps: (B, things + stuff, N).
        background: whether channel 0 of the segmenter is background.
        teacher: the teacher's logits (B, K, N), or None before there is one.
    """
    low = maps.amin((1, 2), keepdim=True)
    extent = maps.amax((1, 2), keepdim=True) - low
    usable = extent.flatten() > 0
    scaled = (maps - low) / torch.where(extent > 0, extent, 1.0)
    active = torch.ones_like(scaled[:, 0], dtype=torch.bool)
    if background:
        strongest = scaled.amax(1)
        active = strongest > BACKGROUND
        scaled = torch.cat([(BACKGROUND - strongest).clamp(min=0)[:, None], scaled], 1)
    if teacher is not None:
        scaled = MIX * teacher.softmax(1) + (1 - MIX) * scaled
    return Targets(scaled, active & usable[:, None], usable)


def category_loss(logits: Tensor, targets: Targets, alpha: float, order: Tensor | None) -> Tensor:
    """Cross entropy to the best map, minus `alpha` times cross entropy to a negative target.

    Args:
        logits: (B, K, N).
        targets: of the same images.
        alpha: weight of the negative part.
        order: permutation (K,) of the channels for the negative target, or None without a teacher. The negative
            target is the POSITION of the best channel in that order.

    Returns:
        scalar, mean over the patches of usable images; not a number where there is none.
    """
    logits, maps = logits[targets.usable], targets.maps[targets.usable]
    loss = functional.cross_entropy(logits, maps.argmax(1))
    if order is not None:
        loss = loss - alpha * functional.cross_entropy(logits, maps[:, order].argmax(1))
    return loss


def uncertainty_loss(logits: Tensor, targets: Targets, background: bool) -> Tensor:
    """1 - (largest - second largest class probability), mean over active patches; not a number where there is none."""
    probabilities = (logits[:, 1:] if background else logits).softmax(1)
    best = probabilities.topk(2, dim=1).values
    return (1 - (best[:, 0] - best[:, 1]))[targets.active].mean()


def embedding_loss(classes: Tensor) -> Tensor:
    """Mean over images and pairs i < j of 1 + cos between class vectors (B, K, D) of unit length."""
    first, second = torch.triu_indices(classes.shape[1], classes.shape[1], 1, device=classes.device)
    return (1 + (classes @ classes.transpose(1, 2))[:, first, second]).mean()


def total_loss(category: Tensor, uncertainty: Tensor, embedding: Tensor) -> Tensor:
    """The weighted sum that is minimised."""
    return WEIGHTS["category"] * category + WEIGHTS["uncertainty"] * uncertainty + WEIGHTS["embedding"] * embedding
