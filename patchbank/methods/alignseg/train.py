"""Stage `train`: an AlignSeg head from a bank and the statistics of the train split.

| in | what |
|---|---|
| bank `multicrop` | tokens (samples, V, N, D), view 0 the global crop, the others local; `cls_attention` |
| or bank `whole` | tokens (images, 1, N, D) from which crops are cut (`tokens_from: whole`), see `feature_crops` |
| statistics | mean and standard deviation of the train split's tokens |

| out | what |
|---|---|
| `checkpoint` | `.safetensors` and `.json`: decoder, settings, centring, origin (`patchbank.methods.alignseg.head`) |
| `steps_csv`, `epochs_csv` | one row a step, one row an epoch (`patchbank.methods.alignseg.logs`) |

The frozen encoder is never run: a step reads its crops from the bank. At equal inputs, seed, threads and library
versions the weights are equal bit for bit on a CPU, whether or not the run was interrupted.

Source: AlignSeg, "Rethinking Self-Supervised Semantic Segmentation: Achieving End-to-End Segmentation",
https://github.com/yliu1229/AlignSeg.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import patchbank
from patchbank import threads as cpu_threads
from patchbank.bank.centring import Centring
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.devices import torch_device
from patchbank.errors import UserError
from patchbank.files import digest
from patchbank.fingerprint import code_fingerprint
from patchbank.methods.alignseg.batches import load_batches, plan_epoch
from patchbank.methods.alignseg.capture import CapturedStep
from patchbank.methods.alignseg.feature_crops import FeatureCrops
from patchbank.methods.alignseg.foreground import ForegroundMasks
from patchbank.methods.alignseg.head import save_head
from patchbank.methods.alignseg.initial_queries import kmeans_queries
from patchbank.methods.alignseg.logs import COLUMNS, StepLog
from patchbank.methods.alignseg.metric import fit_metric
from patchbank.methods.alignseg.model import QueryDecoder
from patchbank.methods.alignseg.optimiser import build_optimiser, set_learning_rate
from patchbank.methods.alignseg.pooling import prepare_tokens
from patchbank.methods.alignseg.settings import AlignSegSettings
from patchbank.methods.alignseg.step import Crops, batch_losses
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.batches import Batch, steps_per_epoch
from patchbank.methods.tools.logs import write_logs
from patchbank.methods.tools.state import TrainingState
from patchbank.progress import track
from patchbank.stopping import at_the_next

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

LOG = logging.getLogger(__name__)
METRIC_NOTE = (
    "segments are clustered by a metric that was learned without labels; floors without a metric of their own "
    "cluster theirs as the configuration says, so what it brings is part of every difference across images."
)
FETCH_EVERY = 50
"""Steps whose losses are fetched from a GPU together."""


def train(job: TrainJob) -> None:
    """The stage, from files to files; the bank is `multicrop`, or `whole` with ``tokens_from="whole"``."""
    options = AlignSegSettings.from_mapping(job.settings)
    train_head(_training_bank(job, options), Statistics.load(job.statistics), options, job)


def train_head(
    bank: Bank,
    statistics: Statistics | None,
    settings: AlignSegSettings,
    job: TrainJob,
    on_step: Callable[[int], None] | None = None,
) -> None:
    """Train a head, or go on where an equal run was killed, and write checkpoint and logs.

    Args:
        bank: open `multicrop` bank.
        statistics: needed unless ``centre`` is ``none``.
        settings: of the head.
        job: whose seed, device, threads, files and folder for states are used; the seed covers initial values and
            order.
        on_step: called with the number of every finished step.

    Raises:
        UserError: settings that do not fit the bank, or a loss that is not finite (names step and batch; the last
            state is kept).
    """
    if bank.views < 2:
        raise UserError(f"AlignSeg needs a bank with a global and local crops; this one has {bank.views} view.")
    device = torch_device(job.device)
    count = cpu_threads.limit(job.threads)
    centring = Centring.of(statistics, settings.centre, bank.dim)
    origin = _origin(bank, settings, job.seed, centring, count, device)
    run = _Run(bank, settings, job.seed, centring, TrainingState(job.state_root, origin), device)
    rows = run.finish(on_step)
    record = {key: value for key, value in origin.items() if key != "settings"}
    record["notes"] = [] if settings.metric == "none" else [METRIC_NOTE]
    record |= {"backbone": bank.record.get("backbone"), "images": len(bank.images), "steps": len(rows)}
    write_logs(COLUMNS, rows, job.files)
    save_head(job.files.checkpoint, run.model, settings, centring, record, run.metric())
    run.state.remove()


def _training_bank(job: TrainJob, settings: AlignSegSettings) -> Bank:
    if settings.tokens_from == "crops":
        return open_bank(job.banks["multicrop"], draws=settings.draws or None)
    return FeatureCrops(open_bank(job.banks["whole"]), settings, job.seed)


def _origin(
    bank: Bank, settings: AlignSegSettings, seed: int, centring: Centring, threads: int, device: torch.device
) -> dict[str, Any]:
    """Everything that shapes the weights."""
    parts = [part.numpy().tobytes() for part in (centring.mean, centring.std) if part is not None]
    return {
        "settings": asdict(settings),
        "seed": seed,
        "bank": digest(bank.record, 16),
        "draws": bank.draws,
        "centring": hashlib.sha256(b"".join(parts)).hexdigest()[:16] if parts else None,
        "code": code_fingerprint("patchbank.methods.alignseg.train"),
        "package": patchbank.__version__,
        "threads": threads,
        "device": device.type,
        "torch": torch.__version__,
    }


class _Run:
    """One training run: the model, its optimiser, and what a step needs."""

    def __init__(
        self,
        bank: Bank,
        settings: AlignSegSettings,
        seed: int,
        centring: Centring,
        state: TrainingState,
        device: torch.device,
    ) -> None:
        self._bank, self._settings, self._seed, self._device = bank, settings, seed, device
        self.state = state
        self.model = QueryDecoder(bank.dim, settings, seed).to(device)
        self._optimiser = build_optimiser(self.model, settings)
        self._shift, self._scale = centring.shift_and_scale(device)
        size = min(settings.batch_size, len(bank.images))
        if size < settings.batch_size:
            LOG.warning("%d images are fewer than a batch of %d: every step takes all", size, settings.batch_size)
        self._tokens = torch.empty((size * bank.views, bank.tokens_per_view, bank.dim), device=device)

    def finish(self, on_step: Callable[[int], None] | None) -> list[list[float]]:
        """Train all epochs that are left; return the rows of the log."""
        settings, images = self._settings, len(self._bank.images)
        first, rows = self.state.restore({"model": self.model}, self._optimiser)
        if first == 0 and settings.initial_queries == "kmeans":
            queries = self.model.queries.data
            queries.copy_(kmeans_queries(self._bank, queries, self._shift, self._scale, self._seed))
        if first:
            LOG.info("going on after epoch %d of %d (%s)", first - 1, settings.epochs, self.state.folder)
        arguments = (images, self._bank.draws, settings.batch_size, self._seed)
        batches = [batch for epoch in range(first, settings.epochs) for batch in plan_epoch(*arguments, epoch)]
        masks = ForegroundMasks(self._bank, min(self._bank.draws, settings.epochs)) if settings.foreground else None
        in_epoch = steps_per_epoch(images, settings.batch_size)
        LOG.info("AlignSeg: %d of %d steps on %s", len(batches), settings.epochs * in_epoch, self._device)
        on_gpu = self._device.type == "cuda"
        step = CapturedStep(self._step, self._device) if on_gpu else self._step
        loaded = load_batches(self._bank, batches, masks, self._device)
        log = StepLog(rows, FETCH_EVERY if on_gpu else 1, self._place)
        with at_the_next():
            for batch, tokens, foreground in track(loaded, "AlignSeg", unit="step", total=len(batches)):
                rate = settings.learning_rate(batch.epoch)
                if batch.index == 0:
                    set_learning_rate(self._optimiser, rate)
                log.add(batch, rate, step(tokens, foreground))
                done = batch.epoch + 1
                if batch.last and (done % settings.checkpoint_every == 0 or done == settings.epochs):
                    log.fetch()
                    self._check_weights(batch)
                    if done < settings.epochs:
                        self.state.save({"model": self.model}, self._optimiser, done, log.rows)
                if on_step:
                    on_step(batch.epoch * in_epoch + batch.index)
        return log.rows

    def metric(self) -> Tensor | None:
        """What the settings ask to learn from the trained decoder's segments."""
        options = self._settings
        if options.metric == "none":
            return None
        choices = (options.metric_dims, options.metric_shrink, options.refine, self._seed)
        return fit_metric(self._bank, self.model, self._shift, self._scale, *choices)

    def _step(self, stored: Tensor, foreground: Tensor) -> Tensor:
        """One step on stored tokens (b * V, N, D) and masks (b, V, N); the four values of `StepLog.add`."""
        inverse_norms = prepare_tokens(stored, self._tokens, self._shift, self._scale)
        losses = batch_losses(self.model, Crops(self._tokens, inverse_norms, foreground.float()), self._settings)
        self._optimiser.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return torch.stack([losses.patch, losses.query, losses.total, losses.used_segments]).detach()

    def _check_weights(self, batch: Batch) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self.model.state_dict().values()):
            raise UserError(f"AlignSeg: weights are not finite after {self._place(batch)}")

    def _place(self, batch: Batch) -> str:
        images = ", ".join(self._bank.images[row // self._bank.draws] for row in batch.rows[:3])
        return (
            f"epoch {batch.epoch}, batch {batch.index} (images {images}...); the last good state stays in "
            f"{self.state.folder}. Lower the learning rate, or check the bank with `patchbank verify`."
        )
