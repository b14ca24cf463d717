"""Stage `train`: shifts, the head, then its classes, all from banks.

| in | what |
|---|---|
| bank `whole`, or `five` | tokens of the views that the head trains on (`patchbank.methods.tools.training_views`) |
| bank `whole` | tokens whose final codes are clustered |
| statistics | what tokens are centred with |

| out | what |
|---|---|
| `checkpoint` | `.safetensors` and `.json`: head, classes, settings, origin (`patchbank.methods.tools.class_heads`) |
| `steps_csv`, `epochs_csv` | one row a step, one row an epoch |

The frozen encoder is never run and no label is read. At equal inputs, seed, threads and library versions the weights
are equal bit for bit on a CPU, whether or not the run was interrupted. What is kept is the head of the last step.
Neighbours are searched once for all seeds (`patchbank.methods.stego.neighbours`).

Source: STEGO, https://github.com/mhamilton723/STEGO.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from patchbank.errors import UserError
from patchbank.methods.jobs import TrainJob
from patchbank.methods.stego.losses import Parts
from patchbank.methods.stego.neighbours import positives, stored_neighbours
from patchbank.methods.stego.settings import TITLE, StegoSettings
from patchbank.methods.stego.shifts import Shifts
from patchbank.methods.stego.step import Stego, draw, losses
from patchbank.methods.tools.class_heads import cluster_codes, repeat_classes, save_class_head
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.opened import Opened, open_training
from patchbank.methods.tools.phases import OnStep, Phase, Phases
from patchbank.methods.tools.training_views import sample_order, steps_in_epoch
from patchbank.seeds import generator

LOG = logging.getLogger(__name__)
COLUMNS = ("step", "epoch", "loss_total", "loss_intra", "loss_inter", "loss_negative", "loss_probe")


def train(job: TrainJob, on_step: OnStep | None = None) -> None:
    """Train, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        job: its banks are those of `settings.traits`; its seed covers everything random.
        on_step: called with the number of every finished step, those of the search first.

    Raises:
        UserError: banks that do not belong together, or a loss that is not finite (the last state is kept).
    """
    settings = StegoSettings.part_of(job.settings)
    opened = open_training(job, settings, "patchbank.methods.stego.train", on_step)
    phases = opened.phases
    if opened.views.count < 2:
        raise UserError(f"{TITLE} compares images with others; there is one view only. Add images.")
    run = _Run(opened, settings, job)
    shifts = [settings.shift_intra, settings.shift_inter, settings.shift_negative]
    if settings.shifts == "auto":
        shifts = run.search(phases, shifts)
    model, rows = run.train(phases, shifts)
    head = model.head.cpu()
    if settings.probe == "reference":
        classes = repeat_classes(unit(model.probe.clusters.detach().cpu()), job.settings)
    else:
        fit = {**job.settings, "sample": settings.tokens}
        classes = cluster_codes(opened.banks["whole"], head, opened.centring, fit, job.seed)
    record = opened.record(rows) | {"shifts": shifts}
    record["notes"] = _notes(settings, shifts)
    write_logs(COLUMNS, rows, job.files)
    save_class_head(job, head, classes, opened.centring, record)
    phases.end()


def _notes(settings: StegoSettings, shifts: Sequence[float]) -> list[str]:
    if settings.shifts != "auto":
        return []
    said = ", ".join(f"{name} {value:.2f}" for name, value in zip(("intra", "inter", "negative"), shifts, strict=True))
    return [f"shifts were searched on the train bank without labels: {said}."]


Batch = tuple[Tensor, Tensor]


class _Run:
    """What both phases need: views, neighbours, order of samples."""

    def __init__(self, opened: Opened, settings: StegoSettings, job: TrainJob) -> None:
        views, seed = opened.views, job.seed
        self._views, self._settings, self._seed, self._device = views, settings, seed, opened.device
        self._classes = int(job.settings["k"][0])
        self._neighbours = stored_neighbours(job.state_root, views, opened.origin)
        steps = max(settings.steps, settings.search_steps)
        ordered = sample_order(views.count, settings.batch_size, seed, keep_last=True)
        self._order = list(itertools.islice(ordered, steps))
        each = steps_in_epoch(views.count, settings.batch_size, keep_last=True)
        LOG.info("%s: %d views, %d steps an epoch, on %s", TITLE, views.count, each, self._device)

    def search(self, phases: Phases, start: Sequence[float]) -> list[float]:
        """Shifts by `patchbank.methods.stego.shifts`."""
        settings = self._settings
        model, optimiser = self._new()
        shifts = Shifts(start).to(self._device)

        def step(number: int, batch: Batch) -> list[float]:
            parts, probe = self._losses("search", number, batch, model, list(shifts.values.clone()))
            _move(optimiser, parts.total + probe)
            late = number >= settings.search_steps // 2
            shifts.follow(parts.similarities, settings.near_zero, settings.near_one, late)
            return [float(parts.total.detach()), *shifts.values.tolist()]

        models = {"model": model, "shifts": shifts}
        phases.run(Phase("search", settings.search_steps, models, optimiser, self._loader("search"), step))
        means = shifts.means()
        LOG.info("%s: shifts %s", TITLE, ", ".join(f"{value:.3f}" for value in means))
        return means

    def train(self, phases: Phases, shifts: Sequence[float]) -> tuple[Stego, list[list[float]]]:
        """The head after the last step, and the rows of the log."""
        model, optimiser = self._new()

        def step(number: int, batch: Batch) -> list[float]:
            parts, probe = self._losses("train", number, batch, model, shifts)
            _move(optimiser, parts.total + probe)
            values = torch.stack([parts.total, parts.intra, parts.inter, parts.negative, probe])
            logged: list[float] = values.detach().tolist()
            return logged

        phase = Phase("train", self._settings.steps, {"model": model}, optimiser, self._loader("train"), step)
        values = phases.run(phase)
        return model, [[number, self._order[number][0], *row] for number, row in enumerate(values)]

    def _new(self) -> tuple[Stego, torch.optim.Adam]:
        """A head and a probe at their start, and Adam: two learning rates, no other difference."""
        settings = self._settings
        model = Stego(self._views.dim, self._classes, settings, self._seed).to(self._device)
        groups = [
            {"params": list(model.head.parameters()), "lr": settings.lr},
            {"params": list(model.probe.parameters()), "lr": settings.probe_lr},
        ]
        return model, torch.optim.Adam(groups)

    def _loader(self, phase: str) -> Callable[[int], Batch]:
        """What reads the views of a step, and a positive of each."""

        def load(number: int) -> Batch:
            samples = self._order[number][1]
            rng = generator("stego views", phase, self._seed, number)
            chosen = positives(self._neighbours, samples, rng)
            return self._views.read(samples, rng), self._views.read(chosen, rng)

        return load

    def _losses(
        self, phase: str, number: int, batch: Batch, model: Stego, shifts: Sequence[Tensor | float]
    ) -> tuple[Parts, Tensor]:
        rng = generator("stego step", phase, self._seed, number)
        tokens = (batch[0].to(self._device), batch[1].to(self._device))
        drawn = draw(rng, len(tokens[0]), self._views.dim, self._settings, self._device)
        return losses(model, tokens, self._views.grid, drawn, shifts, self._settings)


def _move(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
