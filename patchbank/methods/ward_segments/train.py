"""Training of `ward-segments`: whitening, segments of train images, and the tree of their classes."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from patchbank import threads as cpu_threads
from patchbank.bank.reader import Bank, open_bank
from patchbank.bank.sample import sample_tokens
from patchbank.bank.statistics import Statistics
from patchbank.checkpoints.store import save_arrays
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.files import write_text
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.coded import Coder, check_tokens, learned_head
from patchbank.methods.ward_segments.fitted import Fitted, Segmenter
from patchbank.methods.ward_segments.settings import WardSettings
from patchbank.methods.ward_segments.tree import joined, means
from patchbank.progress import track
from patchbank.seeds import derive
from patchbank.variants import variant_name

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Fit on the bank `whole`; short, and without a state to resume.

    The checkpoint holds the whitening (`shift`, `matrix`, `normalise`), the other row's head where one is read
    (`decoder/...`, `centre/...`) and the centres of ``k<asked>-s<first k-means seed>``. Both logs have one row a number
    of classes: classes asked for and made, segments, and the mean squared distance of a segment to its class.

    Raises:
        UserError: a head that gives tokens no codes, or was trained on another encoder.
    """
    options = WardSettings.part_of(job.settings)
    threads, bank = cpu_threads.limit(job.threads), open_bank(job.banks["whole"])
    record = job.record(bank.record, threads)
    coder = None
    if options.codes:
        head, told = learned_head(job, options.codes)
        check_tokens(head, job, bank)
        coder = Coder(head.encoder, head.centring)
        record |= {**told, "after": {**told["after"], "head": dict(head.record["head"])}}
        record["notes"] = [f"compares tokens by the codes of {options.codes}, too."]
    tokens = sample_tokens(bank, options.sample, job.seed)
    shape = ProjectionSettings(job.settings["centre"], pca=options.pca, whiten=True, normalise=True)
    whitening = fit_projection(tokens, shape, Statistics.load(job.statistics))
    segmenter = Segmenter(whitening, coder, job.settings, job.seed)
    points = _segments(segmenter, bank, _images(len(bank), options, job.seed))
    centres, rows = {}, ["k,classes,segments,distance"]
    for k, classes in joined(points, job.settings["k"]).items():
        name = variant_name(k, job.settings["kmeans_seeds"][0])
        centres[name], distance = means(points, classes)
        rows.append(f"{k},{len(centres[name])},{len(points)},{distance:.9g}")
        LOG.info("%d segments joined into %d classes: distance %.4g", len(points), len(centres[name]), distance)
    save_arrays(job.files.checkpoint, Fitted(segmenter, centres).arrays(), record)
    for log in (job.files.steps_csv, job.files.epochs_csv):
        write_text(log, "\n".join(rows) + "\n")


def _images(count: int, options: WardSettings, seed: int) -> NDArray[np.int64]:
    """Rows of the images whose segments are joined, ascending."""
    most = max(1, options.most // options.segments)
    if count <= most:
        return np.arange(count)
    LOG.info("segments of %d of %d images are joined", most, count)
    return np.sort(np.random.default_rng(derive("ward segments", seed)).choice(count, most, replace=False))


def _segments(segmenter: Segmenter, bank: Bank, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean features of all segments of some images, one image after the other."""
    return np.concatenate(
        [
            segmenter.segments(bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim), bank.images[row])[1]
            for row in track(rows.tolist(), "segments", "image")
        ]
    )
