"""Stage `predict`: scores of the classes of every patch, from the `whole` bank (and `mirrored`) and a trained head."""

from __future__ import annotations

from patchbank.methods.cause_mlp.infer import load
from patchbank.methods.jobs import PredictJob
from patchbank.methods.tools.class_heads import predict_classes


def predict(job: PredictJob) -> None:
    """Write the predictions of one split; a head carries its own settings and centring."""
    predict_classes(job, load(job.trained()))
