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
from patchbank.errors import UserError
from patchbank.files import write_text
from patchbank.methods.jobs import TrainJob
from patchbank.methods.tools.coded import Coder, check_tokens, learned_head
from patchbank.methods.tools.foreground_split import fit_split
from patchbank.methods.ward_segments.fitted import Fitted, Segmenter
from patchbank.methods.ward_segments.settings import WardSettings
from patchbank.methods.ward_segments.tree import joined, means
from patchbank.progress import track
from patchbank.seeds import generator
from patchbank.variants import variant_name

LOG = logging.getLogger(__name__)


def train(job: TrainJob) -> None:
    """Fit on the bank `whole`; short, and without a state to resume.

    The checkpoint holds the whitening (`shift`, `matrix`, `normalise`), the other row's head where one is read
    (`decoder/...`, `centre/...`), the split into foreground and background where there is one (`split_...`) and the
    centres of ``k<asked>-s<first k-means seed>``. Both logs have one row a number of classes: classes asked for and
    made, segments that were joined, and the mean squared distance of a segment to its class.

    Raises:
        UserError: a head that gives tokens no codes, or was trained on another encoder; no segment is foreground.
    """
    options = WardSettings.part_of(job.settings)
    threads, bank = cpu_threads.limit(job.threads), open_bank(job.banks["whole"])
    record = job.record(bank.record, threads)
    coder, notes = None, []
    if options.codes:
        head, told = learned_head(job, options.codes)
        check_tokens(head, job, bank)
        coder = Coder(head.encoder, head.centring)
        record |= {**told, "after": {**told["after"], "head": dict(head.record["head"])}}
        notes.append(f"compares tokens by the codes of {options.codes}, too.")
    tokens = sample_tokens(bank, options.sample, job.seed)
    shape = ProjectionSettings(job.settings["centre"], pca=options.pca, whiten=True, normalise=True)
    statistics = Statistics.load(job.statistics)
    whitening = fit_projection(tokens, shape, statistics)
    split = fit_split(bank, tokens, statistics, per_image=True, seed=job.seed) if options.background else None
    segmenter = Segmenter(whitening, coder, job.settings, job.seed, split)
    images = _images(len(bank), options, job.seed)
    if len(images) < len(bank):
        notes.append(f"segments of {len(images)} of {len(bank)} train images were joined (`most`).")
    points = _segments(segmenter, bank, images)
    if options.background:
        notes.append(f"{len(points)} segments are no background and were joined.")
    centres: dict[str, NDArray[np.float32]] = {}
    fitted, rows = Fitted(segmenter, centres), ["k,classes,segments,distance"]
    backgrounds = int(options.background)
    classes_of = joined(points, [k - backgrounds for k in job.settings["k"]])
    for k in job.settings["k"]:
        name = variant_name(k, job.settings["kmeans_seeds"][0])
        centres[name], distance = means(points, classes_of[k - backgrounds])
        rows.append(f"{k},{fitted.classes[name]},{len(points)},{distance:.9g}")
        LOG.info("%d segments, %d classes: distance %.4g", len(points), fitted.classes[name], distance)
    save_arrays(job.files.checkpoint, fitted.arrays(), record | {"notes": notes})
    for log in (job.files.steps_csv, job.files.epochs_csv):
        write_text(log, "\n".join(rows) + "\n")


def _images(count: int, options: WardSettings, seed: int) -> NDArray[np.int64]:
    """Rows of the images whose segments are joined, ascending."""
    most = options.most // options.segments
    if count <= most:
        return np.arange(count)
    return np.sort(generator("ward segments", seed).choice(count, most, replace=False))


def _segments(segmenter: Segmenter, bank: Bank, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean features of the segments of some images, one image after the other; those of the background are left out."""
    points = []
    for row in track(rows.tolist(), "segments", "image"):
        tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim)
        points.append(segmenter.segments(tokens, bank.images[row]).foreground())
    if not any(map(len, points)):
        raise UserError(f"No segment of {bank.folder} is foreground; train with background: false.")
    return np.concatenate(points)
