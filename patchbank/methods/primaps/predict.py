"""Stage `predict`: scores of the classes of every patch, or, for ``stage: proposals``, the proposals of every image.

Proposals are segments inside images: the background is segment 0, the others are numbered in their order.
"""

from __future__ import annotations

import torch

from patchbank import threads as cpu_threads
from patchbank.bank.centring import Centring
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.methods.jobs import PredictJob
from patchbank.methods.primaps.infer import load
from patchbank.methods.primaps.proposals import Rule, proposals_of
from patchbank.methods.primaps.settings import PrimapsSettings
from patchbank.methods.tools.class_heads import predict_classes
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track


def predict(job: PredictJob) -> None:
    """Write the predictions of one split."""
    if job.settings["stage"] == "proposals":
        _predict_proposals(job)
    else:
        predict_classes(job, load(job.trained()))


def _predict_proposals(job: PredictJob) -> None:
    """One image at a time, because each has a number of proposals of its own."""
    cpu_threads.limit(job.threads)
    settings, bank = PrimapsSettings.part_of(job.settings), open_bank(job.banks["whole"])
    centring = Centring.of(Statistics.load(job.statistics), settings.centre, bank.dim)
    rule = Rule(settings.threshold, settings.most, settings.reference)
    names = (job.dataset, job.split, job.row)
    record = PredictionRecord(*names, "segments", job.seed, "nearest", bank.input_size, dict(job.settings))
    with PredictionWriter(job.out, record, bank.images, {"segments": settings.most + 1}, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            tokens = centring(torch.from_numpy(bank.read([row], ("tokens",))["tokens"][0, 0]).float())
            writer.write_labels("segments", row, proposals_of(tokens, bank.grid, rule)[None].numpy())
