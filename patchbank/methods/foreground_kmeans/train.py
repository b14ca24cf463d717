"""Training of `foreground-kmeans`: the split, then k-means of the foregrounds for every (K, seed)."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import torch

from patchbank import threads as cpu_threads
from patchbank.bank.reader import open_bank
from patchbank.bank.sample import sample_tokens
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import save_checkpoint
from patchbank.clustering.kmeans import KMeansSettings, cap, fit_kmeans
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.errors import UserError
from patchbank.files import write_text
from patchbank.methods.foreground_kmeans.clusters import Fitted
from patchbank.methods.foreground_kmeans.settings import ForegroundSettings
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.foreground_split import fit_split
from patchbank.progress import track
from patchbank.seeds import derive
from patchbank.variants import variant_name

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Fit on the fit split's bank `whole`; short, and without a state to resume.

    The checkpoint holds the split, the projection, and ``k<asked>-s<seed>`` centroids of foregrounds. The log of steps
    has one row per iteration of k-means, that of epochs one per fit, as those of `kmeans`.

    Raises:
        UserError: so few images have a foreground that there is nothing to cluster.
    """
    options = ForegroundSettings.part_of(job.settings)
    kmeans = KMeansSettings(**job.settings["kmeans"])
    bank, statistics = open_bank(job.banks["whole"]), Statistics.load(job.statistics)
    tokens = sample_tokens(bank, options.sample, job.seed)
    shape = ProjectionSettings("mean", pca=options.pca, whiten=options.whiten, normalise=True)
    split = fit_split(bank, tokens, statistics, options.threshold == "image", job.seed)
    fitted = Fitted(split, fit_projection(tokens, shape, statistics), {}, kmeans.spherical)
    rows = track(range(len(bank)), "foregrounds", "image")
    seen = [fitted.embed(bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim))[1] for row in rows]
    points = np.stack([one for one in seen if one is not None] or [np.zeros(0, np.float32)])
    if len(points) < 2:
        raise UserError(f"{len(points)} of {len(seen)} images of {bank.folder} have a foreground; two are the least.")
    LOG.info("%d of %d images have a foreground", len(points), len(seen))
    centroids, steps, epochs = {}, ["k,seed,iteration,objective"], ["k,seed,objective"]
    for k in job.settings["k"]:
        for s in job.settings["kmeans_seeds"]:
            fit = fit_kmeans(points, cap(k - 1, len(points)), derive("foreground", job.seed, k, s), kmeans)
            centroids[variant_name(k, s)] = fit.centroids
            steps += [f"{k},{s},{i},{value:.9g}" for i, value in enumerate(fit.objective)]
            epochs.append(f"{k},{s},{fit.objective[-1]:.9g}")
    tensors = {n: torch.from_numpy(a) for n, a in replace(fitted, centroids=centroids).arrays().items()}
    record = job.record(bank.record, cpu_threads.limit(job.threads))
    save_checkpoint(job.files.checkpoint, tensors, record)
    write_text(job.files.steps_csv, "\n".join(steps) + "\n")
    write_text(job.files.epochs_csv, "\n".join(epochs) + "\n")
