"""What a training on views opens before its first step: banks, their views, centring, device, states, origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import torch

from patchbank import threads as cpu_threads
from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.statistics import Statistics
from patchbank.devices import torch_device
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.phases import OnStep, Phases, origin, same_images
from patchbank.methods.tools.training_views import TrainingViews
from patchbank.methods.tools.view_names import recipes, training_recipe


class OnViews(Protocol):
    """Settings of such a training."""

    @property
    def TITLE(self) -> str:
        """The method as messages call it."""
        ...

    @property
    def views(self) -> str:
        """What is trained on, a name of `patchbank.methods.tools.view_names`."""
        ...

    @property
    def centre(self) -> str:
        """What is done to tokens first."""
        ...

    @property
    def checkpoint_every(self) -> int:
        """Steps between two states."""
        ...


@dataclass(frozen=True)
class Opened:
    """What `open_training` returns.

    Attributes:
        banks: by recipe.
        views: what a step reads.
        centring: of the tokens.
        device: of the training.
        phases: states of the training.
        origin: everything that shapes the run.
    """

    banks: Mapping[str, Bank]
    views: TrainingViews
    centring: Centring
    device: torch.device
    phases: Phases
    origin: Mapping[str, Any]

    def record(self, rows: Sequence[Sequence[float]]) -> dict[str, Any]:
        """The record of the finished training, but for settings and seed; `rows` are those of its log."""
        known = {key: value for key, value in self.origin.items() if key not in ("settings", "seed")}
        return known | {"dim": self.views.dim, "images": len(self.views.bank.images), "steps": len(rows)}


def open_training(
    job: TrainJob,
    settings: OnViews,
    code: str,
    on_step: OnStep | None,
    more: Mapping[str, Any] = MappingProxyType({}),
    also: Sequence[str] = (),
) -> Opened:
    """Open what a job names.

    Args:
        job: its banks are those of the method's traits.
        settings: the method's part of `job.settings`.
        code: module of the training.
        on_step: called with the number of every finished step.
        more: JSON values that shape the run besides, so that a run that differs in them does not go on from its state.
        also: recipes of further banks that the training reads.

    Raises:
        UserError: banks that do not belong together.
    """
    banks = {name: open_bank(job.banks[name]) for name in (*recipes(settings.views), *also)}
    count, device = cpu_threads.limit(job.threads), torch_device(job.device)
    same_images(settings.TITLE, banks)
    centring = Centring.of(Statistics.load(job.statistics), settings.centre, banks["whole"].dim)
    known = origin(banks, job.settings, job.seed, centring, code) | {"threads": count, "device": device.type, **more}
    views = TrainingViews(banks[training_recipe(settings.views)], settings.views, centring)
    phases = Phases(settings.TITLE, job.state_root, known, settings.checkpoint_every, on_step)
    return Opened(banks, views, centring, device, phases, known)
