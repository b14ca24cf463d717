"""One centroid a class: k-means of window features over the whole train split.

Features are un-normalised float32 in the manifest's order. Things are clustered on the foreground windows (or all),
stuff on the background windows, things first. faiss k-means, L2, no sub-sampling; a centroid is finally the mean of
its members. An empty cluster, or fewer windows than centroids, is an error. An image without a window stays in the
set and is counted.

Source: TransFGU, "A Top-down Approach to Fine-Grained Unsupervised Semantic Segmentation",
https://github.com/damo-cv/TransFGU.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchbank.clustering.kmeans import KMeansSettings, assign, fit_kmeans
from patchbank.errors import UserError
from patchbank.methods.transfgu.settings import TransFGUSettings
from patchbank.progress import track
from patchbank.views.windows import BACKGROUND, FOREGROUND, select_windows, window_boxes

if TYPE_CHECKING:
    from patchbank.bank.reader import Bank

LOG = logging.getLogger(__name__)
_BLOCK = 256


@dataclass(frozen=True)
class WindowFeatures:
    """Features of all selected windows of a split.

    Attributes:
        foreground: (M, D) float32, in the order of images and windows.
        background: (M', D) float32.
        counts: (images, 2) int64, foreground and background windows of each image.
    """

    foreground: NDArray[np.float32]
    background: NDArray[np.float32]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Centroids:
    """Centroids of all maps, things first.

    Attributes:
        vectors: (K, D) float32.
        members: (K,) int64, features of each.
        empty_images: images without a foreground window.
    """

    vectors: NDArray[np.float32]
    members: NDArray[np.int64]
    empty_images: int = 0

    def digest(self) -> str:
        """16 hexadecimal digits over the vectors' bytes; pseudo labels name the centroids that they were made with."""
        return hashlib.sha256(np.ascontiguousarray(self.vectors).tobytes()).hexdigest()[:16]


def make_centroids(bank: Bank, settings: TransFGUSettings, seed: int) -> Centroids:
    """Centroids of a train split.

    Args:
        bank: `windows` bank, or the `whole` bank for ``window_feature: pooled``.
        settings: classes, features, k-means.
        seed: of the k-means; the published code's 1 is our seed 0.

    Raises:
        UserError: fewer windows than centroids, or a class without members.
    """
    pooled = settings.window_feature == "pooled"
    features = pool_windows(bank, settings) if pooled else read_windows(bank)
    without = int((features.counts[:, 0] == 0).sum())
    if without:
        LOG.warning("%d of %d images have no foreground window; they stay in the set", without, len(features.counts))
    parts = [_cluster(features.foreground, settings.things, "things", settings, seed)]
    if settings.stuff:
        if not len(features.background):
            raise UserError(
                f"TransFGU: stuff is {settings.stuff}, but no window was selected as background; set "
                f"{'pooled_select' if pooled else 'recipes.windows.select'} to foreground+background, or stuff to 0."
            )
        parts.append(_cluster(features.background, settings.stuff, "stuff", settings, seed))
    vectors, members = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Centroids(vectors, members, without)


def read_windows(bank: Bank) -> WindowFeatures:
    """Class tokens of the selected windows of a `windows` bank."""
    starts = range(0, len(bank), _BLOCK)
    codes = np.concatenate([bank.read(_rows(bank, s), ("window",))["window"] for s in starts])
    totals = {code: int((codes == code).sum()) for code in (FOREGROUND, BACKGROUND)}
    # one array each of the final size: on large sets the features are most of the memory
    tokens = {code: np.empty((total, bank.dim), dtype=np.float32) for code, total in totals.items()}
    done = dict.fromkeys(tokens, 0)
    for start in track(starts, "read windows", unit="block"):
        rows = _rows(bank, start)
        cls = bank.read(rows, ("cls",))["cls"]
        for code, array in tokens.items():
            part = cls[codes[rows] == code]
            array[done[code] : done[code] + len(part)] = part
            done[code] += len(part)
    return WindowFeatures(tokens[FOREGROUND], tokens[BACKGROUND], _counts(codes))


def pool_windows(bank: Bank, settings: TransFGUSettings) -> WindowFeatures:
    """Mean token of the whole image inside each selected window of a `whole` bank's own grid."""
    windows = window_boxes(bank.grid, settings.pooled_scales)
    if not len(windows):
        raise UserError(f"TransFGU: no window of scales {list(settings.pooled_scales)} fits a grid of {bank.grid}.")
    patch = bank.input_size[0] // bank.grid[0]
    foreground, background, every = [], [], []
    y0, x0, y1, x1 = windows.T
    areas = ((y1 + 1 - y0) * (x1 + 1 - x0))[:, None]
    for row in track(range(len(bank.images)), "pool windows", unit="image"):
        stored = bank.read([row * bank.draws], ("tokens", "cls_attention"))
        sums = np.zeros((bank.grid[0] + 1, bank.grid[1] + 1, bank.dim))
        tokens = stored["tokens"].reshape(*bank.grid, bank.dim).astype(np.float64)
        sums[1:, 1:] = tokens.cumsum(0).cumsum(1)
        inside = sums[y1 + 1, x1 + 1] - sums[y0, x1 + 1] - sums[y1 + 1, x0] + sums[y0, x0]
        means = (inside / areas).astype(np.float32)
        codes = np.full(len(windows), FOREGROUND, dtype=np.uint8)
        if settings.pooled_select != "all":
            attention = stored["cls_attention"][0, 0].astype(np.float32).mean(0)
            codes = select_windows((attention > attention.mean()).reshape(bank.grid), windows, patch)
        if settings.pooled_select == "foreground":
            codes[codes == BACKGROUND] = 0
        foreground.append(means[codes == FOREGROUND])
        background.append(means[codes == BACKGROUND])
        every.append(codes)
    return WindowFeatures(np.concatenate(foreground), np.concatenate(background), _counts(np.stack(every)))


def _rows(bank: Bank, start: int) -> NDArray[np.int64]:
    return np.arange(start, min(start + _BLOCK, len(bank)))


def _counts(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.stack([(codes == code).sum(1) for code in (FOREGROUND, BACKGROUND)], 1)


def _cluster(
    features: NDArray[np.float32], k: int, what: str, settings: TransFGUSettings, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Centroids (k, D) as means of their members, and the number of those (k,)."""
    if len(features) < k:
        raise UserError(
            f"TransFGU: {len(features)} windows are fewer than the {k} centroids of {what}; use more images or more "
            "window scales, or select all windows."
        )
    fit = fit_kmeans(features, k, seed + 1, KMeansSettings(niter=settings.niter, nredo=settings.nredo))
    return mean_of_members(features, fit.centroids, what)


def mean_of_members(
    features: NDArray[np.float32], centroids: NDArray[np.float32], what: str
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Means (k, D) of the features nearest to each centroid, and their numbers (k,).

    Raises:
        UserError: a centroid without members; it is named.
    """
    nearest = assign(features, centroids, spherical=False)
    members = np.bincount(nearest, minlength=len(centroids))
    empty = np.flatnonzero(members == 0)
    if len(empty):
        raise UserError(
            f"TransFGU: {what} {', '.join(map(str, empty))} of {len(centroids)} have no members among {len(features)} "
            "features; ask for fewer classes, or use another seed."
        )
    sums = np.zeros((len(centroids), features.shape[1]))
    order = np.argsort(nearest, kind="stable")
    edges = np.concatenate([[0], np.cumsum(members)])
    for k in range(len(centroids)):
        sums[k] = features[order[edges[k] : edges[k + 1]]].sum(0, dtype=np.float64)
    LOG.info("centroids of %s: %d features, %d to %d a cluster", what, len(features), members.min(), members.max())
    return (sums / members[:, None]).astype(np.float32), members.astype(np.int64)
