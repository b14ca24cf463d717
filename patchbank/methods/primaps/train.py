"""Stage `train`: proposals, the baseline, then EM, from banks.

| in | what |
|---|---|
| bank `whole`, or `center320` | tokens of the views that are trained on (`patchbank.methods.tools.training_views`) |
| bank `recoloured` | with `student: recoloured`: tokens of the same views in other colours |
| bank `pixels` | with `refine`: pixels of the same views, whose edges the proposals follow |
| statistics | what tokens are centred with |
| checkpoint of another row | with `codes`: the head whose codes EM runs on, and whose classes it starts from |

| out | what |
|---|---|
| `checkpoint` | `.safetensors` and `.json`: vectors of the classes, settings, origin |
| `steps_csv`, `epochs_csv` | one row a step of the row's own stage, one row an epoch |

The frozen encoder is never run and no label is read. At equal inputs, seed, threads and library versions the weights
are equal bit for bit on a CPU, whether or not the run was interrupted. What is kept are the teacher's prototypes after
the last step. Proposals are made once for all seeds (`patchbank.methods.primaps.stored`). On codes there is no
baseline, and the checkpoint holds the other row's head too, as it is, so that predictions need no other file.

Published and not done here: mirrored views.

Source: PriMaPs-EM, https://github.com/visinf/primaps.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from patchbank.bank.centring import Centring
from patchbank.bank.reader import Bank
from patchbank.errors import UserError
from patchbank.methods.jobs import TrainJob
from patchbank.methods.primaps.codes import coded_head
from patchbank.methods.primaps.prototypes import Prototypes, Teacher, principal_directions
from patchbank.methods.primaps.settings import TITLE, PrimapsSettings, more_recipes
from patchbank.methods.primaps.step import focal_loss, pseudo_labels, upsampled
from patchbank.methods.primaps.stored import StoredProposals
from patchbank.methods.tools.class_heads import ClassHead, repeat_classes, save_class_head
from patchbank.methods.tools.cluster_probe import ClusterProbe
from patchbank.methods.tools.coded import check_tokens
from patchbank.methods.tools.correspondence import unit
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.opened import Opened, open_training
from patchbank.methods.tools.phases import OnStep, Phase, Phases
from patchbank.methods.tools.training_views import TrainingViews, sample_order, steps_in_epoch
from patchbank.progress import track
from patchbank.refinement import crf
from patchbank.seeds import generator

COLUMNS = ("step", "epoch", "loss")
_AS = {"recoloured": "in other colours", "pixels": "as pixels"}
"""What banks of other recipes make of views."""


def train(job: TrainJob, on_step: OnStep | None = None) -> None:
    """Train, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        job: its banks are those of `settings.traits`; its seed covers the order of images.
        on_step: called with the number of every finished step, those of the baseline first.

    Raises:
        UserError: banks that do not belong together, or a loss that is not finite (the last state is kept).
    """
    settings = PrimapsSettings.part_of(job.settings)
    head, learned = coded_head(job, settings.codes)
    also = more_recipes(job.settings)
    library = {"library": crf.version()} if settings.refine == "crf" else {}
    more = {**learned, **library}
    opened = open_training(job, settings, "patchbank.methods.primaps.train", on_step, more, also)
    for recipe in also:
        _check_views(opened.views.bank, opened.banks[recipe], recipe)
    phases = opened.phases
    run = _Run(opened, settings, job, head)
    if head is not None:
        check_tokens(head, job, opened.banks["whole"])
        vectors, rows = run.em(phases, head.first_vectors())
    else:
        probe, rows = run.baseline(phases, settings.epochs if settings.stage == "baseline" else settings.start_epochs)
        vectors = unit(probe.clusters.detach())
        if settings.stage == "em":
            vectors, rows = run.em(phases, probe.clusters.detach())
    encoder, centring = (nn.Identity(), opened.centring) if head is None else (head.encoder.cpu(), head.centring)
    record = opened.record(rows)
    record["notes"] = [] if head is None else [f"runs on the codes of {settings.codes}, from its classes."]
    write_logs(COLUMNS, rows, job.files)
    save_class_head(job, encoder, repeat_classes(vectors.cpu(), job.settings), centring, record)
    phases.end()


class _Run:
    """What both phases need: views and their order."""

    def __init__(self, opened: Opened, settings: PrimapsSettings, job: TrainJob, head: ClassHead | None) -> None:
        self._views, self._device, self._origin = opened.views, opened.device, opened.origin
        self._settings, self._job = settings, job
        self._head = None if head is None else head.to(opened.device)
        centring = opened.centring if head is None else Centring()  # a head centres tokens itself
        self._teacher = opened.views if head is None else TrainingViews(opened.views.bank, settings.views, centring)
        self._student: TrainingViews | None = None
        if settings.student != "same":
            self._student = TrainingViews(opened.banks["recoloured"], settings.views, centring)
        self._pixels = opened.banks.get("pixels")
        self._each = steps_in_epoch(self._views.count, settings.batch_size, keep_last=False)

    def baseline(self, phases: Phases, epochs: int) -> tuple[ClusterProbe, list[list[float]]]:
        """Cosine k-means from principal directions."""
        order = self._order("baseline", epochs * self._each)
        size = min(self._settings.batch_size, self._views.count)
        chosen = self._order("baseline", min(self._settings.pca_batches, max(1, self._views.count // size)))
        blocks = (self._views.read(np.sort(samples)).flatten(0, 1) for _, samples in chosen)
        start = principal_directions(track(blocks, f"{TITLE} start", "batch"), int(self._job.settings["k"][0]))
        probe = ClusterProbe(start).to(self._device)
        optimiser = torch.optim.Adam(probe.parameters(), lr=self._settings.lr)

        def step(number: int, tokens: Tensor) -> list[float]:
            loss = probe.loss(tokens.to(self._device))
            _move(optimiser, loss)
            return [float(loss.detach())]

        def load(number: int) -> Tensor:
            return self._views.read(order[number][1])

        rows = phases.run(Phase("baseline", len(order), {"probe": probe}, optimiser, load, step))
        return probe, [[number, order[number][0], *row] for number, row in enumerate(rows)]

    def em(self, phases: Phases, start: Tensor) -> tuple[Tensor, list[list[float]]]:
        """Vectors of the teacher's classes, from (K, C) vectors at the start, and the rows of the log."""
        settings, grid = self._settings, self._views.grid
        size = (settings.size, settings.size) if settings.size else grid
        proposals = StoredProposals(self._job.state_root, self._views, settings, size, self._origin, self._pixels)
        student = Prototypes(start).to(self._device)
        teacher = Teacher(student, settings.teacher_decay, settings.teacher_every).to(self._device)
        optimiser = torch.optim.Adam(student.parameters(), lr=settings.lr)
        order = self._order("em", settings.epochs * self._each)

        def load(number: int) -> tuple[Tensor, Tensor | None, Tensor]:
            samples = order[number][1]
            return self._teacher.read(samples), self._recoloured(samples, number), proposals.read(samples)

        def step(number: int, batch: tuple[Tensor, Tensor | None, Tensor]) -> list[float]:
            tokens, masks = self._codes(batch[0]), batch[2].to(self._device)
            labels = pseudo_labels(teacher.prototypes, tokens, masks, grid)
            learned = tokens if batch[1] is None else self._codes(batch[1])
            loss = focal_loss(upsampled(student(learned), grid, size), labels, settings.gamma)
            _move(optimiser, loss)
            teacher.after_step(student, number)
            return [float(loss.detach())]

        models: dict[str, nn.Module] = {"student": student, "teacher": teacher}
        rows = phases.run(Phase("em", len(order), models, optimiser, load, step))
        return teacher.prototypes.vectors(), [[number, order[number][0], *row] for number, row in enumerate(rows)]

    def _codes(self, tokens: Tensor) -> Tensor:
        """What prototypes are compared with, on the device: tokens, or the other row's codes."""
        tokens = tokens.to(self._device)
        return tokens if self._head is None else self._head.codes(tokens)

    def _recoloured(self, samples: NDArray[np.int64], step: int) -> Tensor | None:
        """Tokens that the student sees of views; None where it sees those of the teacher."""
        if self._student is None:
            return None
        rng = generator("primaps student", self._job.seed, step)
        return self._student.read(samples, draws=rng.integers(self._student.bank.draws, size=len(samples)))

    def _order(self, phase: str, steps: int) -> list[tuple[int, NDArray[np.int64]]]:
        seed = int(generator("primaps", phase, self._job.seed).integers(2**31))
        ordered = sample_order(self._views.count, self._settings.batch_size, seed, keep_last=False)
        return list(itertools.islice(ordered, steps))


def _check_views(plain: Bank, other: Bank, recipe: str) -> None:
    """Refuse a bank, named as one of `recipe`, whose views are others than those that are trained on."""
    stored = other.record["recipe"]
    wanted = {key: value for key, value in plain.record["recipe"].items() if key != "fields"}
    of = {key: stored.get("of" if key == "name" else key) for key in wanted}
    if of != wanted:
        raise UserError(
            f"{other.folder} does not hold the views of {plain.folder} {_AS[recipe]}, "
            f"{of} instead of {wanted}; name banks that one configuration extracts."
        )


def _move(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
