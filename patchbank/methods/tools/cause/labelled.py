"""Where labels enter the published training: a linear probe on the codes.

In the published second phase its gradient is part of the norm that all gradients are clipped by; in the third it moves
the head itself. Only ``supervised_leak: reference`` makes one.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank
    from patchbank.datasets import Manifest

IGNORED = -1
"""Label of what has none."""


class SeededLinear(nn.Linear):
    """A linear layer with torch's own start, uniform within 1 / sqrt(width), from a seed of its own."""

    def __init__(self, width: int, out: int, seed: int) -> None:
        super().__init__(width, out)
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.uniform_(-(width**-0.5), width**-0.5, generator=rng)


def probe_loss(logits: Tensor, labels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean cross entropy over what is labelled.

    Args:
        logits: (B, N, K) of the patches.
        labels: (B, H, W), `IGNORED` for none; logits are upsampled bilinearly to their size.
        grid: (h, w) of the patches.
    """
    maps = logits.transpose(1, 2).reshape(len(logits), -1, *grid)
    if maps.shape[2:] != labels.shape[1:]:
        maps = functional.interpolate(maps, labels.shape[1:], mode="bilinear", align_corners=False)
    if not (labels != IGNORED).any():
        return maps.sum() * 0
    return functional.cross_entropy(maps, labels, ignore_index=IGNORED)


def patch_labels(manifest: Manifest, bank: Bank) -> NDArray[np.int16]:
    """The class (images, h, w) that most pixels of each patch have, `IGNORED` where none has."""
    from patchbank.datasets.patches import NONE, image_patches

    entries = {entry.id: entry for entry in manifest.entries(manifest.train_split)}
    found = np.full((len(bank.images), *bank.grid), IGNORED, np.int16)
    for number, image in enumerate(bank.images):
        labels = image_patches(manifest, entries[image], bank.grid)
        if labels is not None:
            found[number] = np.where(labels == NONE, IGNORED, labels)
    return found


def labels_digest(labels: NDArray[np.int16]) -> str:
    """16 hexadecimal digits over labels (images, h, w), so that a training does not go on under other ones."""
    return hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()[:16]
