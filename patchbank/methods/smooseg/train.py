"""Stage `train`: the head and its classes, from banks.

| in | what |
|---|---|
| bank `whole`, or `five` | tokens of the views that the head trains on (`patchbank.methods.tools.training_views`) |
| statistics | what tokens are centred with |

| out | what |
|---|---|
| `checkpoint` | `.safetensors` and `.json`: head, classes, settings, origin (`patchbank.methods.tools.class_heads`) |
| `steps_csv`, `epochs_csv` | one row a step, one row an epoch |

The frozen encoder is never run and no label is read. At equal inputs, seed, threads and library versions the weights
are equal bit for bit on a CPU, whether or not the run was interrupted. What is kept is the head of the last step.

Source: SmooSeg, https://github.com/mc-lan/SmooSeg.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from patchbank.errors import UserError
from patchbank.methods.jobs import TrainJob
from patchbank.methods.smooseg.settings import TITLE, SmooSegSettings
from patchbank.methods.smooseg.step import SmooSeg, build_optimiser, draw, losses, update
from patchbank.methods.tools.class_heads import cluster_codes, repeat_classes, save_class_head
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.opened import open_training
from patchbank.methods.tools.phases import OnStep, Phase, Phases
from patchbank.methods.tools.training_views import TrainingViews, sample_order
from patchbank.seeds import generator

COLUMNS = ("step", "epoch", "loss_total", "loss_intra", "loss_inter", "loss_data", "used_classes")


def train(job: TrainJob, on_step: OnStep | None = None) -> None:
    """Train, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        job: its banks are those of `settings.traits`; its seed covers everything random.
        on_step: called with the number of every finished step.

    Raises:
        UserError: banks that do not belong together, or a loss that is not finite (the last state is kept).
    """
    settings = SmooSegSettings.part_of(job.settings)
    opened = open_training(job, settings, "patchbank.methods.smooseg.train", on_step)
    views, phases = opened.views, opened.phases
    if views.count < 2:
        raise UserError(f"{TITLE} compares images with others; there is one view only. Add images.")
    model, rows = _train(phases, views, settings, job, opened.device)
    head = model.head.cpu()
    if settings.classes == "prototypes":
        classes = repeat_classes(unit(model.prototypes.teacher.cpu()), job.settings)
    else:
        fit = {**job.settings, "sample": settings.tokens}
        classes = cluster_codes(opened.banks["whole"], head, opened.centring, fit, job.seed)
    record = opened.record(rows)
    write_logs(COLUMNS, rows, job.files)
    save_class_head(job, head, classes, opened.centring, record)
    phases.end()


def _train(
    phases: Phases, views: TrainingViews, settings: SmooSegSettings, job: TrainJob, device: torch.device
) -> tuple[SmooSeg, list[list[float]]]:
    """The model after the last step, and the rows of the log."""
    ordered = sample_order(views.count, settings.batch_size, job.seed, keep_last=False)
    order = list(itertools.islice(ordered, settings.steps))
    model = SmooSeg(views.dim, int(job.settings["k"][0]), settings, job.seed).to(device)
    optimiser = build_optimiser(model, settings)

    def load(number: int) -> Tensor:
        return views.read(order[number][1], generator("smooseg views", job.seed, number))

    def step(number: int, tokens: Tensor) -> list[float]:
        rng = generator("smooseg step", job.seed, number)
        drawn = draw(rng, len(tokens), views.dim, settings, device)
        parts = losses(model, tokens.to(device), drawn, settings)
        update(model, optimiser, parts.total, settings.decay)
        values = [parts.total, parts.intra, parts.inter, parts.data, parts.used]
        return [float(value) for value in torch.stack([value.detach() for value in values]).tolist()]

    rows = phases.run(Phase("train", settings.steps, {"model": model}, optimiser, load, step))
    return model, [[number, order[number][0], *row] for number, row in enumerate(rows)]
