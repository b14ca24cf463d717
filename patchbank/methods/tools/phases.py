"""Trainings that count steps: phases one after the other, each of which goes on where it was killed.

A phase's state (`patchbank.methods.tools.state`) is written every `checkpoint_every` steps and at its end, so that a
finished phase is not repeated, and after the step in which the system asks to end (`patchbank.stopping`). All states
are removed when the training has ended well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

import patchbank
from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank
from patchbank.errors import UserError
from patchbank.files import digest
from patchbank.fingerprint import code_fingerprint
from patchbank.methods.tools.batches import read_ahead
from patchbank.methods.tools.state import TrainingState
from patchbank.progress import track
from patchbank.stopping import Stopped, at_the_next

LOG = logging.getLogger(__name__)
T = TypeVar("T")
OnStep = Callable[[int], None]


@dataclass(frozen=True)
class Phase(Generic[T]):
    """One phase.

    Attributes:
        name: of the phase, one word.
        steps: how many there are.
        models: everything that a step changes; the first is the one that `optimiser` moves.
        optimiser: of the first model.
        load: reads what a step needs, in a thread, while the step before is worked on.
        step: takes the step of that number and returns the values of the log, the loss first.
    """

    name: str
    steps: int
    models: Mapping[str, nn.Module]
    optimiser: Optimizer
    load: Callable[[int], T]
    step: Callable[[int, T], list[float]]


class Phases:
    """The phases of one training.

    Args:
        title: the method as messages call it.
        root: folder of all states.
        origin: JSON values: everything that shapes the run.
        every: steps between two states.
        on_step: called with the number of every finished step, over all phases.
    """

    def __init__(
        self, title: str, root: Path, origin: Mapping[str, Any], every: int, on_step: OnStep | None = None
    ) -> None:
        self._title, self._root, self._origin, self._every, self._on_step = title, root, dict(origin), every, on_step
        self._states: list[TrainingState] = []
        self._before = 0

    def run(self, phase: Phase[T]) -> list[list[float]]:
        """Take the steps that are left; the values of all of them.

        Raises:
            UserError: a loss that is not finite; the last state is kept.
        """
        state = TrainingState(self._root, {**self._origin, "phase": phase.name})
        self._states.append(state)
        first, rows = state.restore(phase.models, phase.optimiser)
        if first:
            LOG.info("%s: %s goes on after step %d of %d", self._title, phase.name, first, phase.steps)
        loaded = read_ahead(lambda number: phase.load(first + number), phase.steps - first)
        name, done = f"{self._title} {phase.name}", first
        with at_the_next(), _saved_at_the_end(lambda: state.save(phase.models, phase.optimiser, done, rows)):
            for number, batch in enumerate(track(loaded, name, unit="step", total=phase.steps - first), first):
                rows.append(phase.step(number, batch))
                if not torch.isfinite(torch.tensor(rows[-1][0])):
                    raise UserError(
                        f"{name}: the loss of step {number} is {rows[-1][0]}; the last good state stays in "
                        f"{state.folder}. Lower the learning rate, or check the bank with `patchbank verify`."
                    )
                done = number + 1
                if done % self._every == 0 or done == phase.steps:
                    state.save(phase.models, phase.optimiser, done, rows)
                if self._on_step:
                    self._on_step(self._before + number)
        self._before += phase.steps
        return rows

    def end(self) -> None:
        """Remove all states: the training has ended well."""
        for state in self._states:
            state.remove()


@contextmanager
def _saved_at_the_end(save: Callable[[], None]) -> Iterator[None]:
    """Within, `track` may end the steps (`Stopped`), wherever behind a step the signal came; what is done is kept."""
    try:
        yield
    except Stopped:
        save()
        raise


def origin(
    banks: Mapping[str, Bank], settings: Mapping[str, Any], seed: int, centring: Centring, code: str
) -> dict[str, Any]:
    """Everything that shapes the weights but threads and device; `code` is the module of the training."""
    parts = [part.tolist() for part in (centring.mean, centring.std) if part is not None]
    return {
        "settings": dict(settings),
        "seed": seed,
        "banks": {recipe: digest(bank.record, 16) for recipe, bank in banks.items()},
        "backbone": next(iter(banks.values())).record.get("backbone"),
        "centring": digest(parts, 16) if parts else None,
        "code": code_fingerprint(code),
        "package": patchbank.__version__,
        "torch": torch.__version__,
    }


def same_images(title: str, banks: Mapping[str, Bank]) -> None:
    """Raise `UserError` where banks hold different images or tokens of different backbones."""
    first, *others = banks.items()
    for name, bank in others:
        for what in ("images", "backbone"):
            one, two = (b.images if what == "images" else b.record.get("backbone") for b in (first[1], bank))
            if one != two:
                raise UserError(f"{title}: the banks {first[0]} and {name} differ in their {what}.")
