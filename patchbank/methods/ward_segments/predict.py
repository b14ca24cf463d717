"""Prediction of `ward-segments`: every patch has the scores of its segment."""

from __future__ import annotations

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.checkpoints.store import check_backbone
from patchbank.errors import UserError
from patchbank.methods.jobs import PredictJob
from patchbank.methods.ward_segments.infer import load
from patchbank.predictions import PredictionRecord, PredictionWriter
from patchbank.progress import track


def predict(job: PredictJob) -> None:
    """Write the scores of one split, image by image."""
    cpu_threads.limit(job.threads)
    bank, model = open_bank(job.banks["whole"]), load(job.trained())
    check_backbone(model.record, bank.record.get("backbone", {}), job.trained())
    if bank.dim != model.dim:
        raise UserError(f"{job.row} reads tokens of width {model.dim}, the bank's have {bank.dim}; train it again.")
    known = (bank.input_size, dict(job.settings), model.record.get("oracle"))
    record = PredictionRecord(job.dataset, job.split, job.row, "classes", job.seed, "nearest", *known)
    with PredictionWriter(job.out, record, bank.images, model.fitted.classes, bank.grid) as writer:
        for row in track(range(len(bank)), f"predict {job.row}", "image"):
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim)
            for name, scores in model.fitted.scores(tokens, bank.images[row]).items():
                writer.write_scores(name, row, scores.reshape(1, len(scores), *bank.grid))
