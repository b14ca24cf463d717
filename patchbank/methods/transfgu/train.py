"""Stage `train`: centroids, pseudo labels, then the segmenter, all from banks.

| in | what |
|---|---|
| bank `windows` (or `whole`, pooled) | features of windows, for centroids |
| bank `lastblock` | the read block, for pseudo labels in closed form |
| bank `whole`, statistics | train tokens, instead of both for ``pseudo_label: token_similarity`` |
| bank `augmented` | tokens and boxes of the training views |

With ``stage: pseudo_labels`` only the centroids are made, and `predict` shows what their maps are worth.

| out | what |
|---|---|
| `checkpoint` | `.safetensors` and `.json`: decoder, centroids, settings, origin (`patchbank.methods.transfgu.head`) |
| `steps_csv`, `epochs_csv` | one row a step, one row an epoch (`patchbank.methods.transfgu.logs`) |

The frozen encoder is never run. At equal inputs, seed, threads and library versions the weights are equal bit for bit
on a CPU, whether or not the run was interrupted.

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

import patchbank
from patchbank import threads as cpu_threads
from patchbank.bank.centring import Centring
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import save_checkpoint
from patchbank.devices import torch_device
from patchbank.errors import UserError
from patchbank.files import digest
from patchbank.fingerprint import code_fingerprint
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.batches import Batch
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.state import TrainingState
from patchbank.methods.transfgu.batches import Views, load_batches, plan_epoch
from patchbank.methods.transfgu.centroids import Centroids
from patchbank.methods.transfgu.head import METHOD, Head, build_decoder, save_head
from patchbank.methods.transfgu.logs import COLUMNS
from patchbank.methods.transfgu.optimiser import build_optimiser
from patchbank.methods.transfgu.prepare import Prepared, classes_tensors, find_centroids, prepare
from patchbank.methods.transfgu.schedule import age_of, alpha_of, restarts
from patchbank.methods.transfgu.settings import TransFGUSettings, recipes
from patchbank.methods.transfgu.step import batch_losses, dropout_seed, negative_order, update
from patchbank.progress import track
from patchbank.stopping import at_the_next

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """The stage, from files to files; the banks are those of `settings.recipes`."""
    options = TransFGUSettings.from_mapping(job.settings)
    opened = {name: open_bank(job.banks[name]) for name in recipes(job.settings)}
    train_segmenter(opened, Statistics.load(job.statistics), options, job)


def train_segmenter(
    banks: Mapping[str, Bank],
    statistics: Statistics,
    settings: TransFGUSettings,
    job: TrainJob,
    on_step: Callable[[int], None] | None = None,
) -> None:
    """Train a segmenter, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        banks: recipe -> open bank of the train split.
        statistics: of the train tokens.
        settings: of the segmenter.
        job: whose seed, device, threads, files and folder for states are used; the seed covers k-means, initial values,
            order, dropout and negative targets.
        on_step: called with the number of every finished step.

    Raises:
        UserError: banks of different images or backbones, settings that do not fit them, no class for a centroid, or
            weights that are not finite (the last state is kept).
    """
    views = _check_banks(banks)
    device = torch_device(job.device)
    count, seed, files = cpu_threads.limit(job.threads), job.seed, job.files
    origin = {
        "settings": asdict(settings),
        "seed": seed,
        "banks": {name: digest(bank.record, 16) for name, bank in banks.items()},
        "backbone": views.record.get("backbone"),
        "draws": views.draws,
        "statistics": digest([statistics.mean.tolist(), statistics.std.tolist()], 16),
        "code": code_fingerprint("patchbank.methods.transfgu.train"),
        "package": patchbank.__version__,
        "threads": count,
        "device": device.type,
        "torch": torch.__version__,
    }
    state = TrainingState(job.state_root, origin)
    if settings.stage == "pseudo_labels":
        centroids, projection = find_centroids(banks, statistics, settings, seed, state.folder)
        write_logs(COLUMNS, [], files)
        maps = {**origin, **_of_centroids(centroids, views), "method": METHOD}
        save_checkpoint(files.checkpoint, classes_tensors(centroids, projection), maps)
        state.remove()
        return
    prepared = prepare(banks, statistics, settings, seed, state.folder, device)
    run = _Run(views, prepared, settings, seed, Centring.of(statistics, settings.centre), state, device)
    rows = run.finish(on_step)
    record = {key: value for key, value in origin.items() if key != "settings"} | {
        **_of_centroids(prepared.centroids, views),
        "steps": len(rows),
        "restarts": run.restarts,
    }
    write_logs(COLUMNS, rows, files)
    save_head(files.checkpoint, Head(run.student, settings, run.centring, prepared.tensors(), record))
    state.remove()


def _of_centroids(centroids: Centroids, bank: Bank) -> dict[str, Any]:
    """What a record says of the set and its centroids; reports repeat the notes."""
    images, empty = len(bank.images), centroids.empty_images
    note = f"{empty} of {images} training images have no foreground window; they stay in the set and shape no centroid."
    return {
        "images": images,
        "images_without_foreground": empty,
        "members": centroids.members.tolist(),
        "notes": [note] if empty else [],
    }


def _check_banks(banks: Mapping[str, Bank]) -> Bank:
    """Raise `UserError` where the banks do not belong together; the bank of the training views, or the only one."""
    views = banks["augmented"] if "augmented" in banks else next(iter(banks.values()))
    for name, bank in banks.items():
        if bank.images != views.images:
            raise UserError(
                f"TransFGU: the banks {name} and augmented hold different images; both must be of the train split "
                "(fit: train)."
            )
        if bank.record.get("backbone") != views.record.get("backbone"):
            raise UserError(f"TransFGU: the banks {name} and augmented were made with different backbones.")
    return views


class _Run:
    """One training run: student, teacher, optimiser, and what a step needs."""

    def __init__(
        self,
        bank: Bank,
        prepared: Prepared,
        settings: TransFGUSettings,
        seed: int,
        centring: Centring,
        state: TrainingState,
        device: torch.device,
    ) -> None:
        self._bank, self._prepared, self._settings, self._seed = bank, prepared, settings, seed
        self._device, self._state, self.centring = device, state, centring
        self.student = build_decoder(bank.dim, settings, seed).to(device)
        self._teacher = build_decoder(bank.dim, settings, seed).to(device).eval().requires_grad_(False)
        self._models = {"student": self.student, "teacher": self._teacher}
        self._optimiser = build_optimiser(self.student, settings)
        self._centre = centring.to(device)
        options = (settings.epochs, settings.teacher_start, settings.teacher_interval, settings.restart_at_end)
        self.restarts = restarts(*options)

    def finish(self, on_step: Callable[[int], None] | None) -> list[list[float]]:
        """Train all epochs that are left; return the rows of the log."""
        settings, images = self._settings, len(self._bank.images)
        first, rows = self._state.restore(self._models, self._optimiser)
        if first:
            LOG.info("going on after epoch %d of %d (%s)", first - 1, settings.epochs, self._state.folder)
        arguments = (images, self._bank.draws, settings.repeat, settings.batch_size, self._seed)
        batches = [batch for epoch in range(first, settings.epochs) for batch in plan_epoch(*arguments, epoch)]
        LOG.info("TransFGU: %d steps on %s, teacher renewed at epochs %s", len(batches), self._device, self.restarts)
        started = time.perf_counter()
        loaded = load_batches(self._bank, self._prepared.labels, batches, self._device)
        with at_the_next():
            for batch, views in track(loaded, "TransFGU", unit="step", total=len(batches)):
                if batch.index == 0 and batch.epoch in self.restarts:
                    self._restart()
                values = self._step(batch, views)
                now = time.perf_counter()
                rows.append([len(rows), batch.epoch, settings.lr, *values, len(batch.rows) / (now - started)])
                started = now
                done = batch.epoch + 1
                if batch.last and done % settings.checkpoint_every == 0 and done < settings.epochs:
                    self._check_weights(batch)
                    self._state.save(self._models, self._optimiser, done, rows)
                if on_step:
                    on_step(len(rows) - 1)
        if batches:
            self._check_weights(batches[-1])
        skipped = sum(row[COLUMNS.index("skipped")] for row in rows)
        if skipped:
            LOG.warning("%d of %d steps were skipped: their loss was not above 0", skipped, len(rows))
        return rows

    def _restart(self) -> None:
        """The student becomes the teacher and starts again from its initial values; moments stay, as published."""
        self._teacher.load_state_dict(self.student.state_dict())
        initial = build_decoder(self._bank.dim, self._settings, self._seed)
        self.student.load_state_dict(initial.state_dict())

    def _step(self, batch: Batch, views: Views) -> list[float]:
        """One step; returns the log's columns from `loss_category` to `constant_maps`."""
        age = age_of(batch.epoch, self.restarts)
        teacher = None if age is None else self._teacher
        order = None if age is None else negative_order(self._settings.classes, self._seed, batch, self._device)
        self.student.train()
        with dropout_seed(self._seed, batch, self._device):
            centred = Views(self._centre(views.tokens), views.maps)
            losses = batch_losses(self.student, teacher, centred, self._settings, age, order)
            taken = update(self._optimiser, self.student, losses.total)
        scalars = [losses.category, losses.uncertainty, losses.embedding, losses.total]
        constant = (~losses.targets.usable).sum()
        values: list[float] = torch.stack([*(s.detach() for s in scalars), constant.to(scalars[0].dtype)]).tolist()
        alpha = 0.0 if age is None else alpha_of(age)
        return [*values[:4], alpha, float(not taken), values[4]]

    def _check_weights(self, batch: Batch) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self.student.state_dict().values()):
            raise UserError(
                f"TransFGU: weights are not finite after epoch {batch.epoch}, batch {batch.index}; the last good state "
                f"stays in {self._state.folder}. Lower the learning rate, or check the bank with `patchbank verify`."
            )
