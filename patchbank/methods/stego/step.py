"""One step: both losses of a batch of views and of their positives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from patchbank.methods.stego.losses import Parts, Points, Rule, bilinear_weights, correspondence
from patchbank.methods.stego.settings import StegoSettings
from patchbank.methods.tools.cluster_probe import ClusterProbe
from patchbank.methods.tools.correspondence import other_images
from patchbank.methods.tools.token_heads import TokenHead, dropout


class Stego(nn.Module):
    """Head and probe; the probe learns only where `probe` is ``reference``."""

    def __init__(self, dim: int, classes: int, settings: StegoSettings, seed: int) -> None:
        super().__init__()
        self.head = TokenHead(dim, settings.width, "relu", seed)
        self.probe = ClusterProbe.normal(classes, settings.width, seed)


@dataclass(frozen=True)
class Drawn:
    """Everything random of a step.

    Attributes:
        coords: (B, S * S, 2) of the anchors, and of everything that they are compared with.
        masks: d1 and d2 of the anchors, then of the positives, (B, 1, D) each; None without dropout.
        signal: d3 of the anchors and of the positives; None without.
        partners: (B,) int64 for each negative.
    """

    coords: tuple[Tensor, Tensor]
    masks: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    signal: tuple[Tensor, Tensor] | None
    partners: Sequence[Tensor]


def draw(rng: np.random.Generator, batch: int, dim: int, settings: StegoSettings, device: torch.device) -> Drawn:
    """Draw coordinates, dropout and negatives of a batch of `batch` views with tokens of width `dim`."""
    shape = (batch, settings.points**2, 2)
    one, two = (torch.from_numpy(rng.uniform(-1, 1, shape).astype(np.float32)).to(device) for _ in range(2))
    masks, signal = None, None
    if settings.dropout:
        four = [dropout(rng, (batch, 1, dim), settings.dropout, device) for _ in range(4)]
        masks = ((four[0], four[1]), (four[2], four[3]))
    if settings.signal_dropout:
        drawn = [dropout(rng, (batch, 1, dim), settings.signal_dropout, device) for _ in range(2)]
        signal = (drawn[0], drawn[1])
    partners = [other_images(rng, batch).to(device) for _ in range(settings.negatives)]
    return Drawn((one, two), masks, signal, partners)


def rule_of(settings: StegoSettings) -> Rule:
    """How pairs are compared under these settings."""
    weights = (settings.weight_intra, settings.weight_inter, settings.weight_negative)
    return Rule(weights, settings.centring, settings.clamp)  # type: ignore[arg-type]


def losses(
    model: Stego,
    tokens: tuple[Tensor, Tensor],
    grid: tuple[int, int],
    drawn: Drawn,
    shifts: Sequence[Tensor | float],
    settings: StegoSettings,
) -> tuple[Parts, Tensor]:
    """Correspondence loss, and the probe's loss on codes without a gradient (0 without a probe).

    Args:
        model: head and probe.
        tokens: of the anchors and of their positives, (B, N, D) each.
        grid: (h, w) of the patches.
        drawn: from `draw`.
        shifts: of intra, inter and negative pairs.
        settings: `sample`, `probe` and what `rule_of` reads.
    """
    first, second = (bilinear_weights(coords, grid) for coords in drawn.coords)
    masks = drawn.masks or (None, None)
    signals = tokens if drawn.signal is None else tuple(t * s for t, s in zip(tokens, drawn.signal, strict=True))
    if settings.sample == "tokens":
        codes = model.head(first @ tokens[0], masks[0])
        anchors = Points(first @ signals[0], codes)
        positives = Points(second @ signals[1], model.head(second @ tokens[1], masks[1]))
        # the images of the batch as negatives: image p at the coordinates of b
        others = [
            Points(second @ signals[0][p], model.head(second @ tokens[0][p], _of(masks[0], p))) for p in drawn.partners
        ]
    else:
        codes = model.head(tokens[0], masks[0])
        anchors = Points(first @ signals[0], first @ codes)
        positives = Points(second @ signals[1], second @ model.head(tokens[1], masks[1]))
        others = [Points(second @ signals[0][p], second @ codes[p]) for p in drawn.partners]
    parts = correspondence(anchors, positives, others, shifts, rule_of(settings))
    probe = model.probe.loss(codes.detach()) if settings.probe == "reference" else parts.total.new_zeros(())
    return parts, probe


def _of(masks: tuple[Tensor, Tensor] | None, images: Tensor) -> tuple[Tensor, Tensor] | None:
    return None if masks is None else (masks[0][images], masks[1][images])
