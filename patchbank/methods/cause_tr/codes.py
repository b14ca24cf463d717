"""k-means of the codes that a decoder gives to the patches of whole images, of which one a block is taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank
from patchbank.methods.tools.cause.modularity import block_order, block_sample, block_side
from patchbank.methods.tools.class_heads import BLOCK, Classes, cluster_sampled
from patchbank.progress import track
from patchbank.seeds import generator


def cluster_images(bank: Bank, head: nn.Module, centring: Centring, settings: Mapping[str, Any], seed: int) -> Classes:
    """Classes from as many images as `sample` of `settings` asks for; the rest as of `cluster_codes` of the tools."""
    return cluster_sampled(sampled_codes(bank, head, centring, settings, seed), settings, seed)


@torch.no_grad()
def sampled_codes(bank: Bank, head: nn.Module, centring: Centring, settings: Mapping[str, Any], seed: int) -> Tensor:
    """One code of every block of patches, of images in a random choice.

    Args:
        bank: `whole`.
        head: tokens (B, N, D) -> codes (B, N, R), of whole images.
        centring: of the tokens.
        settings: `sample`, the number of codes, and `block`, the side of a block.
        seed: of the training.

    Returns:
        (m, R), at least `sample` where the bank has so many blocks.
    """
    side = block_side(settings["block"], bank.grid)
    blocks = (bank.grid[0] // side) * (bank.grid[1] // side)
    count = min(len(bank), math.ceil(settings["sample"] / blocks))
    chosen = np.sort(generator("code images", seed).permutation(len(bank))[:count])
    device = next(head.parameters()).device
    size, parts = max(1, BLOCK // bank.tokens_per_view), []
    for start in track(range(0, count, size), "codes of images", "block"):
        rows = chosen[start : start + size]
        stored = torch.from_numpy(bank.read(rows, ("tokens",))["tokens"][:, 0]).float()
        order = block_order(generator("code blocks", seed, start), len(rows), bank.grid, side)
        codes = head(centring(stored).to(device))
        parts.append(block_sample(codes, bank.grid, order, side).flatten(0, 1).cpu())
    return torch.cat(parts)
