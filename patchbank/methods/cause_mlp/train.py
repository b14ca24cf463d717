"""Stage `train`: the codebook, the head, then its classes, all from banks.

| in | what |
|---|---|
| bank `whole`, or `five` | tokens of the views that are trained on (`patchbank.methods.tools.training_views`) |
| statistics | what tokens are centred with |
| manifest | labels of the train split, with ``supervised_leak: reference`` only |

| out | what |
|---|---|
| `checkpoint` | `.safetensors` and `.json`: the teacher's head, classes, settings, origin |
| `steps_csv`, `epochs_csv` | one row a step, one row an epoch, of all three phases |

The frozen encoder is never run. At equal inputs, seed, threads and library versions the weights are equal bit for bit
on a CPU, whether or not the run was interrupted. What is kept is the teacher after the last step.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank
from patchbank.methods.cause_mlp.settings import TokenSettings
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.cause.training import train_head
from patchbank.methods.tools.class_heads import Classes, cluster_codes
from patchbank.methods.tools.opened import Opened
from patchbank.methods.tools.phases import OnStep
from patchbank.methods.tools.token_heads import TokenHead, dropout


class TokenKind:
    """A head on single tokens, as `patchbank.methods.tools.cause.phases.Kind`.

    Args:
        dim: width D of the tokens.
        settings: of the head.
        seed: of its initial values.
    """

    whole, halving = False, None

    def __init__(self, dim: int, settings: TokenSettings, seed: int) -> None:
        self._dim, self._settings, self._seed = dim, settings, seed

    def head(self, codebook: Tensor) -> TokenHead:
        """See `Kind`; the codebook has no part in it."""
        return TokenHead(self._dim, self._settings.width, "relu", self._seed)

    def masks(self, rng: np.random.Generator, tokens: Tensor) -> tuple[Tensor, Tensor] | None:
        """Factors of single elements, two draws."""
        share = self._settings.dropout
        if not share:
            return None
        one, two = (dropout(rng, tuple(tokens.shape), share, tokens.device) for _ in range(2))
        return one, two

    def cluster(
        self, bank: Bank, head: nn.Module, centring: Centring, settings: Mapping[str, Any], seed: int
    ) -> Classes:
        """See `Kind`."""
        return cluster_codes(bank, head, centring, settings, seed)


def train(job: TrainJob, on_step: OnStep | None = None) -> None:
    """Train, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        job: its banks are those of `settings.traits`; its seed covers everything random.
        on_step: called with the number of every finished step, over all phases.

    Raises:
        UserError: banks that do not belong together, or a loss that is not finite (the last state is kept).
    """
    settings = TokenSettings.part_of(job.settings)

    def kind(opened: Opened) -> TokenKind:
        return TokenKind(opened.views.dim, settings, job.seed)

    train_head(job, settings, kind, "patchbank.methods.cause_mlp.train", on_step)
