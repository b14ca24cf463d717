"""Training of `kmeans`: sample train tokens, fit the projection, fit every (K, seed)."""

from __future__ import annotations

import logging

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.bank.sample import sample_tokens
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import save_arrays
from patchbank.clustering.kmeans import cap, fit_kmeans
from patchbank.clustering.projection import fit_projection
from patchbank.files import write_text
from patchbank.methods.jobs import TrainJob
from patchbank.methods.kmeans.settings import TokenKMeansSettings
from patchbank.progress import track
from patchbank.seeds import derive
from patchbank.variants import variant_name

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Fit and store centroids of the fit split's bank `whole`.

    The checkpoint holds the projection (`shift`, `matrix`, `normalise`) and ``k<asked>-s<seed>`` centroids. The log of
    steps has one row per iteration: `k`, `seed`, `iteration`, `objective`; that of epochs one row per fit, with the
    last objective. A fit is short and has no state to resume.
    """
    options, seed = TokenKMeansSettings.parse(job.settings), job.seed
    bank = open_bank(job.banks["whole"])
    tokens = sample_tokens(bank, options.sample, seed)
    projection = fit_projection(tokens, options.projection, Statistics.load(job.statistics))
    points = projection(tokens)
    arrays = projection.arrays()
    steps, epochs = ["k,seed,iteration,objective"], ["k,seed,objective"]
    fits = [(k, s) for k in options.k for s in options.kmeans_seeds]
    LOG.info("k-means on %d of %d tokens", len(points), len(bank) * bank.tokens_per_view)
    for k, s in track(fits, "token k-means", "fit"):
        fit = fit_kmeans(points, cap(k, len(points)), derive("token-kmeans", seed, k, s), options.kmeans)
        arrays[variant_name(k, s)] = fit.centroids
        steps += [f"{k},{s},{i},{value:.9g}" for i, value in enumerate(fit.objective)]
        epochs.append(f"{k},{s},{fit.objective[-1]:.9g}")
        LOG.info("K %d (asked %d), seed %d: objective %.6g", len(fit.centroids), k, s, fit.objective[-1])
    record = job.record(bank.record, cpu_threads.limit(job.threads))
    save_arrays(job.files.checkpoint, arrays, record)
    write_text(job.files.steps_csv, "\n".join(steps) + "\n")
    write_text(job.files.epochs_csv, "\n".join(epochs) + "\n")
