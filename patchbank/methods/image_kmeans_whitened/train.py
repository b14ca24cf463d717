"""Training of `image-kmeans-whitened`: the whitening of sampled train tokens."""

from __future__ import annotations

import logging

import numpy as np

from patchbank import threads as cpu_threads
from patchbank.bank.centring import shift_and_scale
from patchbank.bank.reader import open_bank
from patchbank.bank.sample import sample_tokens
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import save_arrays
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.files import write_text
from patchbank.methods.image_kmeans_whitened.settings import WhitenedSettings
from patchbank.methods.jobs import TrainJob

LOG = logging.getLogger(__name__)
NOTE = "segments are found and clustered in {} whitened directions of train tokens, whatever `clustering` says."


def train(job: TrainJob) -> None:
    """Fit on the bank `whole`; short, and without a state to resume.

    The checkpoint holds the projection (`shift`, `matrix`, `normalise`) and `metric` (D, d) float32, the same whitening
    of centred tokens, by which segments are clustered. Both logs have one row: how many tokens were seen and
    how many directions are kept.
    """
    options = WhitenedSettings.part_of(job.settings)
    bank = open_bank(job.banks["whole"])
    tokens = sample_tokens(bank, options.sample, job.seed)
    centre, statistics = job.settings["centre"], Statistics.load(job.statistics)
    shape = ProjectionSettings(centre, pca=options.pca, whiten=True, normalise=True)
    whitening = fit_projection(tokens, shape, statistics)
    _, scale = shift_and_scale(statistics, centre, bank.dim)
    metric = (whitening.matrix / scale[:, None]).astype(np.float32)
    directions = metric.shape[1]
    LOG.info("%d directions of %d tokens", directions, len(tokens))
    record = job.record(bank.record, cpu_threads.limit(job.threads)) | {"notes": [NOTE.format(directions)]}
    save_arrays(job.files.checkpoint, {**whitening.arrays(), "metric": metric}, record)
    for log in (job.files.steps_csv, job.files.epochs_csv):
        write_text(log, f"tokens,directions\n{len(tokens)},{directions}\n")
