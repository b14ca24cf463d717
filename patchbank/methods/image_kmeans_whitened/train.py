"""Training of `image-kmeans-whitened`: the whitening of sampled train tokens."""

from __future__ import annotations

import logging

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.bank.sample import sample_tokens
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import save_arrays
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.files import write_text
from patchbank.methods.image_kmeans_whitened.settings import WhitenedSettings
from patchbank.methods.jobs import TrainJob

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Fit on the bank `whole`; short, and without a state to resume.

    The checkpoint holds the projection (`shift`, `matrix`, `normalise`). Both logs have one row: how many tokens were
    seen and how many directions are kept.
    """
    options = WhitenedSettings.part_of(job.settings)
    bank = open_bank(job.banks["whole"])
    tokens = sample_tokens(bank, options.sample, job.seed)
    shape = ProjectionSettings(job.settings["centre"], pca=options.pca, whiten=True)
    whitening = fit_projection(tokens, shape, Statistics.load(job.statistics))
    directions = whitening.matrix.shape[1]
    LOG.info("%d directions of %d tokens", directions, len(tokens))
    save_arrays(job.files.checkpoint, whitening.arrays(), job.record(bank.record, cpu_threads.limit(job.threads)))
    for log in (job.files.steps_csv, job.files.epochs_csv):
        write_text(log, f"tokens,directions\n{len(tokens)},{directions}\n")
