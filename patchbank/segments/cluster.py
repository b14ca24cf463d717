"""Stage `segment_clusters`: give every segment of the eval split a dataset-wide cluster id.

The frozen tokens of each segment are averaged (mean, centred by the train tokens' mean, L2-normalised); k-means is
fitted on the segments of the fit split (`train` by default) and applied to the eval split. K is capped at a quarter
of the training segments.

Output `.npz`: for each asked K and k-means seed a table ``k<asked>-s<seed>`` (n, Q) int32, -1 where a segment has no
patch; `tables` (names) and `k_used` (int32) say how many clusters each has; `points` the training
segments of each; ``centroids/<name>`` and the projection (`shift`, `matrix`, `normalise`) give the same ids to other
images.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.clustering.kmeans import KMeansSettings, assign, cap, fit_kmeans
from patchbank.clustering.projection import ProjectionSettings, fit_projection
from patchbank.errors import UserError
from patchbank.files import write_npz
from patchbank.predictions import PredictionReader
from patchbank.progress import track
from patchbank.seeds import derive

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class SegmentClusterSettings:
    """Clustering of segment embeddings.

    Attributes:
        k: numbers of clusters asked for.
        kmeans_seeds: one fit each.
        centre: whether the train tokens' mean is subtracted from the pooled tokens (``mean`` or ``none``).
        projection: what is done to the pooled embeddings.
        kmeans: the fits.
    """

    k: Sequence[int]
    kmeans_seeds: Sequence[int] = (0, 1, 2, 3, 4)
    centre: Literal["mean", "none"] = "mean"
    projection: ProjectionSettings = field(default_factory=lambda: ProjectionSettings(centre="none"))
    kmeans: KMeansSettings = field(default_factory=KMeansSettings)

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> SegmentClusterSettings:
        """From the configuration."""
        return cls(
            k=tuple(settings["k"]),
            kmeans_seeds=tuple(settings["kmeans_seeds"]),
            centre=settings["centre"],
            projection=ProjectionSettings(**settings["projection"]),
            kmeans=KMeansSettings(**settings["kmeans"]),
        )


def pool_segments(
    bank_path: str | Path, prediction: str | Path, offset: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embedding of every segment of a split, image by image.

    Args:
        bank_path: `whole` bank of the split.
        prediction: segments of the same images.
        offset: (D,) subtracted from the mean token of a segment.

    Returns:
        embeddings (n, Q, D) float32, L2-normalised (0 for a segment without a patch), and patches per segment (n, Q).
    """
    bank = open_bank(bank_path)
    with PredictionReader(prediction) as segments:
        if segments.images != bank.images:
            raise UserError(f"{prediction} and {bank.folder} hold different images; run the predict stage again.")
        q = segments.variants["segments"]
        embeddings = np.zeros((len(bank), q, bank.dim), dtype=np.float32)
        sizes = np.zeros((len(bank), q), dtype=np.int64)
        for row in track(range(len(bank)), "pool segments", "image"):
            labels = segments.labels("segments", row, row + 1).ravel()
            tokens = bank.read([row], ("tokens",))["tokens"].reshape(-1, bank.dim).astype(np.float32)
            onehot = (labels[None] == np.arange(q)[:, None]).astype(np.float32)
            sizes[row] = onehot.sum(1).astype(np.int64)
            mean = onehot @ tokens / np.maximum(sizes[row], 1)[:, None] - offset.astype(np.float32)
            norm = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
            embeddings[row] = np.where(sizes[row][:, None] > 0, mean / norm, 0)
    return embeddings, sizes


def cluster_segments(
    fit_bank: str | Path,
    fit_prediction: str | Path,
    eval_bank: str | Path,
    eval_prediction: str | Path,
    statistics: str | Path,
    settings: SegmentClusterSettings,
    seed: int,
    out: str | Path,
) -> None:
    """Fit on one split, apply to the other, write the tables (see the module's docstring)."""
    mean = Statistics.load(statistics).mean
    offset = mean if settings.centre == "mean" else np.zeros_like(mean)
    embeddings, sizes = pool_segments(fit_bank, fit_prediction, offset)
    training = embeddings[sizes > 0]
    projection = fit_projection(training, settings.projection)
    points = projection(training)
    embeddings, sizes = pool_segments(eval_bank, eval_prediction, offset)
    targets = projection(embeddings[sizes > 0])
    arrays: dict[str, NDArray[Any]] = dict(projection.arrays())
    names, used = [], []
    for k in settings.k:
        for s in settings.kmeans_seeds:
            name, count = f"k{k}-s{s}", cap(k, len(points))
            centroids = fit_kmeans(points, count, derive("segment-clusters", seed, k, s), settings.kmeans).centroids
            table = np.full(sizes.shape, -1, dtype=np.int32)
            table[sizes > 0] = assign(targets, centroids, settings.kmeans.spherical)
            arrays[name], arrays[f"centroids/{name}"] = table, centroids
            names.append(name)
            used.append(count)
    LOG.info("%d training segments, %d eval segments, K used %s", len(points), len(targets), sorted(set(used)))
    arrays["tables"], arrays["k_used"] = np.array(names), np.array(used, dtype=np.int32)
    arrays["points"] = np.full(len(names), len(points), dtype=np.int64)
    write_npz(out, arrays)
