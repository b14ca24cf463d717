"""Stage `predict`: segments of every image of a split, from its `whole` bank and a trained head.

Per image: tokens -> queries -> cosine of every token with every query, stored as `scores` (n, Q, h, w), after the
test-time steps of the head's settings (`patchbank.methods.alignseg.grouping`). The segment of a patch is the query with
the largest cosine; it goes to pixels by nearest neighbour. Segment ids mean something inside their image only.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import check_backbone
from patchbank.devices import torch_device
from patchbank.errors import UserError
from patchbank.memory import release
from patchbank.methods.alignseg.head import Head, load_head
from patchbank.methods.alignseg.pooling import prepare_tokens
from patchbank.methods.jobs import PredictJob
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

_BLOCK_VALUES = 1 << 21
"""Token values of one block of images (8 MB in float32)."""


def predict(job: PredictJob) -> None:
    """The stage, from files to a file.

    A head carries its own settings, and the statistics that it was trained with: neither is read from the job.

    Raises:
        UserError: no checkpoint, or one that was trained on another backbone.
    """
    cpu_threads.limit(job.threads)
    checkpoint, bank = job.trained(), open_bank(job.banks["whole"])
    head = load_head(checkpoint)
    check_backbone(head.record, bank.record.get("backbone", {}), checkpoint)
    settings = asdict(head.settings)
    record = PredictionRecord(
        job.dataset, job.split, job.row, "segments", job.seed, "nearest", bank.input_size, settings
    )
    predict_segments(bank, head, record, job.out, job.device)


def predict_segments(bank: Bank, head: Head, record: PredictionRecord, out: str | Path, device: str = "auto") -> None:
    """Write the scores of every image of `bank`.

    Args:
        bank: open `whole` bank, one view of any grid.
        head: from `load_head`.
        record: description of the file to write.
        out: `.h5` to write.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``...
    """
    if bank.dim != head.model.dim:
        raise UserError(f"The head reads tokens of width {head.model.dim}, the bank's have {bank.dim}.")
    target = torch_device(device)
    head.model.to(target)
    shift, scale = head.centring.shift_and_scale(target)
    images, grid = len(bank.images), bank.grid
    size = max(1, _BLOCK_VALUES // (bank.tokens_per_view * bank.dim))
    tokens = torch.empty((min(size, images), bank.tokens_per_view, bank.dim), device=target)
    metric = None if head.metric is None else head.metric.numpy()
    writer = PredictionWriter(out, record, bank.images, {"segments": head.settings.queries}, grid, metric)
    with writer, torch.no_grad():
        for start in track(range(0, images, size), f"predict {record.split}", unit="block"):
            rows = np.arange(start, min(start + size, images)) * bank.draws
            stored = torch.from_numpy(bank.read(rows, ("tokens",))["tokens"][:, 0])
            block = tokens[: len(rows)]
            inverse_norms = prepare_tokens(stored, block, shift, scale)
            scores = head.scores(block, inverse_norms)
            writer.write_scores("segments", start, scores.view(*scores.shape[:2], *grid).cpu().numpy())
            release()
