"""One step of EM: the teacher names the proposals, the student learns these names.

Source: PriMaPs-EM, https://github.com/visinf/primaps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from patchbank.methods.primaps.proposals import NONE, most_frequent
from patchbank.methods.primaps.prototypes import Prototypes


def upsampled(logits: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Logits (B, K, N) of a grid at `size`, (B, K, H, W): as of upsampled tokens, because logits are linear in them."""
    maps = logits.view(*logits.shape[:2], *grid)
    if size == grid:
        return maps
    large: Tensor = functional.interpolate(maps, size, mode="bilinear", align_corners=False)
    return large


@torch.no_grad()
def pseudo_labels(teacher: Prototypes, tokens: Tensor, masks: Tensor, grid: tuple[int, int]) -> Tensor:
    """Classes of the proposals.

    Args:
        teacher: whose choice counts.
        tokens: (B, N, D).
        masks: (B, H, W) proposals, `proposals.NONE` for none.
        grid: (h, w) of the tokens.

    Returns:
        (B, H, W), in every proposal its most frequent class.
    """
    height, width = masks.shape[1:]
    classes = upsampled(teacher(tokens), grid, (height, width)).argmax(1)
    count = len(teacher.direction)
    return torch.stack(
        [most_frequent(mask, image_classes, count) for mask, image_classes in zip(masks, classes, strict=True)]
    )


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Cross entropy with less weight for classes that the batch is full of.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W), `proposals.NONE` is ignored: it counts as 0 in the mean over all points.
        gamma: exponent of 1 minus a class's mean probability.
    """
    log_probs = functional.log_softmax(logits, 1)
    with torch.no_grad():
        weight = (1 - log_probs.exp().mean((0, 2, 3))) ** gamma
    known = labels != NONE
    chosen = torch.where(known, labels, 0)
    picked = log_probs.gather(1, chosen[:, None])[:, 0]
    return -(torch.where(known, weight[chosen], 0.0) * picked).mean()
