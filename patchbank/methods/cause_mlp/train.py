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

from patchbank.bank.reader import open_bank
from patchbank.datasets import Manifest
from patchbank.methods.cause_mlp.labelled import labels_digest, patch_labels
from patchbank.methods.cause_mlp.phases import COLUMNS, Labels, ThreePhases
from patchbank.methods.cause_mlp.settings import CauseSettings
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.class_heads import Classes, cluster_codes, repeat_classes, save_class_head
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.opened import open_training
from patchbank.methods.tools.phases import OnStep


def train(job: TrainJob, on_step: OnStep | None = None) -> None:
    """Train, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        job: its banks are those of `settings.traits`; its seed covers everything random.
        on_step: called with the number of every finished step, over all phases.

    Raises:
        UserError: banks that do not belong together, or a loss that is not finite (the last state is kept).
    """
    settings = CauseSettings.part_of(job.settings)
    leak = settings.supervised_leak == "reference"
    manifest = Manifest.load(job.labels()) if leak else None
    labels: Labels | None = None
    shapes: dict[str, Any] = {}
    if manifest is not None:
        labels = (patch_labels(manifest, open_bank(job.banks["whole"])), len(manifest.classes))
        shapes = {"labels": labels_digest(labels[0]), "classes": list(manifest.classes)}
    opened = open_training(job, settings, "patchbank.methods.cause_mlp.train", on_step, shapes)
    views, phases = opened.views, opened.phases
    run = ThreePhases(views, settings, job.seed, opened.device, labels)
    codebook = run.mediator(phases)
    head = run.front(phases, codebook)
    if leak or settings.probe == "reference":
        vectors = run.probe(phases, head, int(job.settings["k"][0]))
    head = head.cpu()
    if settings.probe == "reference":
        classes: Classes = repeat_classes(unit(vectors), job.settings)
    else:
        fit: Mapping[str, Any] = {**job.settings, "sample": settings.tokens}
        classes = cluster_codes(opened.banks["whole"], head, opened.centring, fit, job.seed)
    write_logs(COLUMNS, run.rows, job.files)
    save_class_head(job, head, classes, opened.centring, opened.record(run.rows))
    phases.end()
