"""Stage `train`: the codebook, the decoder, then its classes, all from banks.

| in | what |
|---|---|
| bank `whole`, or `five` | tokens of whole views (`patchbank.methods.tools.training_views`) |
| statistics | what tokens are centred with |
| manifest | labels of the train split, with ``supervised_leak: reference`` only |

| out | what |
|---|---|
| `checkpoint` | `.safetensors` and `.json`: the teacher's head with its codebook, classes, settings, grid, origin |
| `steps_csv`, `epochs_csv` | one row a step, one row an epoch, of all three phases |

The frozen encoder is never run. At equal inputs, seed, threads and library versions the weights are equal bit for bit
on a CPU, whether or not the run was interrupted. What is kept is the teacher after the last step.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank, open_bank
from patchbank.errors import UserError
from patchbank.methods.cause_tr.codes import cluster_images
from patchbank.methods.cause_tr.head import DecoderHead, Dropout
from patchbank.methods.cause_tr.settings import TITLE, DecoderSettings
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.cause.training import train_head
from patchbank.methods.tools.class_heads import Classes
from patchbank.methods.tools.opened import Opened
from patchbank.methods.tools.phases import OnStep


class DecoderKind:
    """A decoder layer, as `patchbank.methods.tools.cause.phases.Kind`.

    Args:
        patches: number N of patches of a view.
        settings: of the head.
        seed: of its initial values.
        device: where is computed.
    """

    whole = True

    def __init__(self, patches: int, settings: DecoderSettings, seed: int, device: torch.device) -> None:
        self._patches, self._settings, self._seed, self._device = patches, settings, seed, device
        self.halving = settings.probe_halving

    def head(self, codebook: Tensor) -> DecoderHead:
        """See `Kind`."""
        return DecoderHead(codebook.cpu(), self._patches, self._settings.width, self._settings.hidden, self._seed)

    def masks(self, rng: np.random.Generator, tokens: Tensor) -> Dropout | None:
        """Dropout that draws where it is computed: the weights of attention alone are N x N a view."""
        share = self._settings.dropout
        return Dropout(share, int(rng.integers(2**63)), tokens.device) if share else None

    def cluster(
        self, bank: Bank, head: nn.Module, centring: Centring, settings: Mapping[str, Any], seed: int
    ) -> Classes:
        """See `Kind`; codes of whole images take as long as a step, and are made where steps are."""
        return cluster_images(bank, head.to(self._device), centring, settings, seed)


def train(job: TrainJob, on_step: OnStep | None = None) -> None:
    """Train, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        job: its banks are those of `settings.traits`; its seed covers everything random.
        on_step: called with the number of every finished step, over all phases.

    Raises:
        UserError: banks that do not belong together, views of another grid than whole images, or a loss that is not
            finite (the last state is kept).
    """
    settings = DecoderSettings.part_of(job.settings)
    grid = open_bank(job.banks["whole"]).grid

    def kind(opened: Opened) -> DecoderKind:
        views = opened.views.grid
        if views != grid:
            raise UserError(
                f"{TITLE}: views of {settings.views!r} have {views[0]}x{views[1]} patches, whole images "
                f"{grid[0]}x{grid[1]}; a position is learned for every patch, so extract both at one size."
            )
        return DecoderKind(grid[0] * grid[1], settings, job.seed, opened.device)

    train_head(job, settings, kind, "patchbank.methods.cause_tr.train", on_step, {"grid": list(grid)})
