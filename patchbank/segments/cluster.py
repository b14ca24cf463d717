"""Stage `segment_clusters`: give every segment of the eval split a dataset-wide cluster id.

The frozen tokens of each segment are averaged (mean, centred by the train tokens' mean, L2-normalised); k-means is
fitted on the segments of the fit split (`train` by default) and applied to the eval split. K is capped at a quarter
of the training segments. Embeddings are projected as the configuration says (PCA, whitening), or by the metric that a
method learned and left in its predictions.

Output `.npz`: for each asked K and k-means seed a table ``k<asked>-s<seed>`` (n, Q) int32, -1 where a segment has no
patch; `tables` (names) and `k_used` (int32) say how many clusters each has; `points` the training
segments of each; ``centroids/<name>`` and the projection (`shift`, `matrix`, `normalise`) give the same ids to other
images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.centring import EPSILON, Centre, shift_and_scale
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.clustering.kmeans import assign, cap, fit_kmeans
from patchbank.clustering.projection import Projection, fit_projection
from patchbank.errors import UserError
from patchbank.files import write_npz
from patchbank.predictions import PredictionReader
from patchbank.progress import track
from patchbank.seeds import derive, generator
from patchbank.segments.settings import SegmentClusterSettings
from patchbank.variants import variant_name

LOG = logging.getLogger(__name__)


BLOCK = 64
"""Images whose labels are read at a time."""
Chosen = Callable[[str, int], NDArray[np.bool_]]
"""Of an image's content id and its number of segments Q: which of them are wanted (Q,)."""


def pool_segments(
    bank_path: str | Path, prediction: str | Path, statistics: Statistics, centre: Centre, chosen: Chosen | None = None
) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.bool_]]]:
    """Embeddings of every image's segments, one image in memory at a time.

    Args:
        bank_path: `whole` bank of the split.
        prediction: segments of the same images.
        statistics: of the train tokens.
        centre: what they do to the mean token of a segment.
        chosen: which segments are wanted; of an image without any, nothing is read. None for all.

    Yields:
        content id, embeddings (Q, D) float32 of unit length, and which segments are wanted and have a patch (Q,).
    """
    bank = open_bank(bank_path)
    shift, scale = shift_and_scale(statistics, centre, bank.dim)
    with PredictionReader(prediction) as segments:
        if segments.images != bank.images:
            raise UserError(f"{prediction} and {bank.folder} hold different images; run the predict stage again.")
        q = segments.variants["segments"]
        everything = np.ones(q, dtype=bool)
        for start in track(range(0, len(bank), BLOCK), "pool segments", "block"):
            images = bank.images[start : start + BLOCK]
            asked = [everything if chosen is None else chosen(image, q) for image in images]
            rows = [i for i, wanted in enumerate(asked) if wanted.any()]
            if not rows:
                continue
            labels = segments.labels("segments", start + rows[0], start + rows[-1] + 1)
            for i in rows:
                tokens = bank.read([start + i], ("tokens",))["tokens"].reshape(-1, bank.dim)
                embeddings, used = embed_segments(labels[i - rows[0]].ravel(), tokens, q, shift, scale)
                yield images[i], embeddings, used & asked[i]


def embed_segments(
    labels: NDArray[np.int64],
    tokens: NDArray[np.floating[Any]],
    segments: int,
    shift: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Embeddings of one image's segments.

    Args:
        labels: (N,) segment of each patch.
        tokens: (N, D).
        segments: their number Q.
        shift, scale: (D,), from `shift_and_scale`.

    Returns:
        (mean token - shift) * scale of each segment, of unit length (Q, D), and which segments have a patch (Q,).
    """
    onehot = (labels[None] == np.arange(segments)[:, None]).astype(np.float32)
    sizes = onehot.sum(1)
    mean = (onehot @ tokens.astype(np.float32) / np.maximum(sizes, 1)[:, None] - shift) * scale
    norm = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), EPSILON)
    return (mean / norm).astype(np.float32), sizes > 0


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
    moments = Statistics.load(statistics)
    training = _sample(fit_bank, fit_prediction, moments, settings, seed)
    projection = _projection(training, fit_prediction, settings)
    points = projection(training)
    centroids: dict[str, NDArray[np.float32]] = {}
    for k in settings.k:
        for s in settings.kmeans_seeds:
            cluster_seed = derive("segment-clusters", seed, k, s)
            fit = fit_kmeans(points, cap(k, len(points)), cluster_seed, settings.kmeans, gpu=False)
            centroids[variant_name(k, s)] = fit.centroids
    tables: dict[str, list[NDArray[np.int32]]] = {name: [] for name in centroids}
    for _, embeddings, used in pool_segments(eval_bank, eval_prediction, moments, settings.centre):
        targets = projection(embeddings)
        for name, centres in centroids.items():
            ids = assign(targets, centres, settings.kmeans.spherical)
            tables[name].append(np.where(used, ids, -1).astype(np.int32))
    sizes = [len(centres) for centres in centroids.values()]
    LOG.info("%d training segments, K used %s", len(points), sorted(set(sizes)))
    arrays: dict[str, NDArray[Any]] = {name: np.stack(rows) for name, rows in tables.items()}
    arrays |= {f"centroids/{name}": centres for name, centres in centroids.items()}
    arrays |= projection.arrays()
    arrays["token_shift"], arrays["token_scale"] = shift_and_scale(moments, settings.centre, len(moments.mean))
    arrays["spherical"] = np.array(settings.kmeans.spherical, dtype=np.uint8)
    arrays["tables"], arrays["k_used"] = np.array(list(centroids)), np.array(sizes, dtype=np.int32)
    arrays["points"] = np.full(len(centroids), len(points), dtype=np.int64)
    write_npz(out, arrays)


def _projection(training: NDArray[np.float32], prediction: str | Path, settings: SegmentClusterSettings) -> Projection:
    """The configured projection, or the metric that the method learned and left in its predictions."""
    with PredictionReader(prediction) as segments:
        metric = segments.metric
    if metric is None:
        return fit_projection(training, settings.projection)
    LOG.info("segments are clustered by the method's own metric, %d directions", metric.shape[1])
    return Projection(np.zeros(len(metric), np.float32), metric, normalise=False)


def _sample(
    bank: str | Path, prediction: str | Path, statistics: Statistics, settings: SegmentClusterSettings, seed: int
) -> NDArray[np.float32]:
    """Embeddings of the training segments (m, D); above `settings.sample` of them a random part of each image's."""
    with PredictionReader(prediction) as segments:
        total = len(segments.images) * segments.variants["segments"]
    share = settings.sample / max(1, total)

    def part(image: str, number: int) -> NDArray[np.bool_]:
        return generator("segment-sample", seed, image).random(number) < share

    kept, count = np.empty((total, len(statistics.mean)), dtype=np.float32), 0  # untouched rows take no memory
    pooled = pool_segments(bank, prediction, statistics, settings.centre, part if share < 1 else None)
    for _, embeddings, used in pooled:
        chosen = embeddings[used]
        kept[count : count + len(chosen)] = chosen
        count += len(chosen)
    return kept[:count]
