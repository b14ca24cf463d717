"""From banks to a checkpoint: the codebook, the head, then its classes.

What is kept is the teacher after the last step. At equal inputs, seed, threads and library versions the weights are
equal bit for bit on a CPU, whether or not the run was interrupted.

Source: CAUSE, https://arxiv.org/abs/2310.07379.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from patchbank.bank.reader import open_bank
from patchbank.datasets import Manifest
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.apart import check_apart
from patchbank.methods.tools.cause.labelled import labels_digest, patch_labels
from patchbank.methods.tools.cause.phases import COLUMNS, Kind, Labels, ThreePhases
from patchbank.methods.tools.cause.settings import CauseSettings
from patchbank.methods.tools.class_heads import Classes, repeat_classes, save_class_head
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.opened import Opened, open_training
from patchbank.methods.tools.phases import OnStep


def train_head(
    job: TrainJob,
    settings: CauseSettings,
    kind: Callable[[Opened], Kind],
    code: str,
    on_step: OnStep | None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Train, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        job: its banks are those of the method's traits; its seed covers everything random.
        settings: the method's part of `job.settings`.
        kind: of the head, from what was opened.
        code: module of the training.
        on_step: called with the number of every finished step, over all phases.
        more: JSON values that shape the run besides, and stand in its record.

    Raises:
        CannotBeMade: the scored images are among those whose labels move the head.
        UserError: banks that do not belong together, or a loss that is not finite (the last state is kept).
    """
    leak = settings.supervised_leak == "reference"
    manifest = Manifest.load(job.labels()) if leak else None
    labels: Labels | None = None
    shapes: dict[str, Any] = dict(more)
    if manifest is not None:
        check_apart(manifest, "what the leak is worth would be measured where labels have moved the head")
        labels = (patch_labels(manifest, open_bank(job.banks["whole"])), len(manifest.classes))
        shapes |= {"labels": labels_digest(labels[0]), "classes": list(manifest.classes)}
    opened = open_training(job, settings, code, on_step, shapes)
    phases, own = opened.phases, kind(opened)
    run = ThreePhases(opened.views, settings, own, job.seed, opened.device, labels)
    codebook = run.mediator(phases)
    head = run.front(phases, codebook)
    if leak or settings.probe == "reference":
        vectors = run.probe(phases, head, int(job.settings["k"][0]))
    head = head.cpu()
    if settings.probe == "reference":
        classes: Classes = repeat_classes(unit(vectors), job.settings)
    else:
        fit: Mapping[str, Any] = {**job.settings, "sample": settings.tokens}
        classes = own.cluster(opened.banks["whole"], head, opened.centring, fit, job.seed)
    write_logs(COLUMNS, run.rows, job.files)
    save_class_head(job, head, classes, opened.centring, opened.record(run.rows))
    phases.end()
