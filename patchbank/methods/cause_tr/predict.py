"""Stage `predict`: scores of the classes of every patch, from the `whole` bank (and `mirrored`) and a trained head."""

from __future__ import annotations

from patchbank.bank.reader import open_bank
from patchbank.methods.cause_tr.infer import load
from patchbank.methods.jobs import PredictJob
from patchbank.methods.one_grid import check_grid
from patchbank.methods.tools.class_heads import predict_classes


def predict(job: PredictJob) -> None:
    """Write the predictions of one split; a head carries its own settings and centring.

    Raises:
        UserError: the bank has not the patches that were trained on, and what `predict_classes` says.
    """
    model, bank = load(job.trained()), open_bank(job.banks["whole"])
    check_grid(model, bank.grid, f"The bank {bank.folder}", f"train {job.row} on banks of this size, or extract theirs")
    predict_classes(job, model)
