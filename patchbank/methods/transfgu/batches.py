"""Which views a training run reads, in which order, and how they reach the device.

An epoch is the list of images, concatenated `repeat` times (once for 0), in an order drawn from (seed, epoch); the last
incomplete batch is dropped. The r-th time that an image stands in epoch e it uses draw (e * repeat + r) % draws, so
that draws are used up before one comes again. A thread reads the next batch while the current one is worked on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from patchbank.methods.tools.batches import Batch, cut, read_ahead
from patchbank.methods.transfgu.pseudo_labels import PseudoLabels, crop_maps
from patchbank.seeds import generator

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank


@dataclass(frozen=True)
class Views:
    """A batch on the device.

    Attributes:
        tokens: (b, N, D) float32.
        maps: (b, K, N) float32, pseudo labels inside the crops.
    """

    tokens: Tensor
    maps: Tensor


def plan_epoch(images: int, draws: int, repeat: int, batch_size: int, seed: int, epoch: int) -> list[Batch]:
    """The batches of one epoch.

    Args:
        images: number of images.
        draws: draws of each image in the bank.
        repeat: how often the list is concatenated; 0 is once.
        batch_size: images of a batch.
        seed: of the run.
        epoch: 0-based.
    """
    times = max(1, repeat)
    turn, image = np.divmod(generator("transfgu order", seed, epoch).permutation(images * times), images)
    return cut(image * draws + (epoch * times + turn) % draws, batch_size, epoch)


def load_batches(
    bank: Bank, labels: PseudoLabels, batches: Sequence[Batch], device: torch.device
) -> Iterator[tuple[Batch, Views]]:
    """Every batch with its tokens and cropped pseudo labels.

    Args:
        bank: `augmented` bank.
        labels: of the same images.
        batches: from `plan_epoch`.
        device: where the views go.
    """
    size = tuple(bank.record["recipe"]["input"])

    def fetch(number: int) -> Views:
        rows = batches[number].rows
        stored = bank.read(rows, ("tokens", "boxes", "flip"))
        tokens, boxes, flip = (torch.from_numpy(stored[name][:, 0]) for name in ("tokens", "boxes", "flip"))
        maps = crop_maps(labels.read(rows // bank.draws), boxes, flip.bool(), (size[0], size[1]), bank.grid)
        return Views(tokens, maps.flatten(2))

    for batch, views in zip(batches, read_ahead(fetch, len(batches)), strict=True):
        yield batch, Views(views.tokens.to(device).float(), views.maps.to(device))
