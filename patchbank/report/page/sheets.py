"""Cluster sheets: eight typical crops of every cluster of the dataset, so that a reader sees what it stands for.

Inputs: manifest, prediction files (through the panel's columns), the evaluation split's `whole` bank and the train
tokens' mean. Output: one JPEG for each cluster, `<method>.<cluster>.jpg`, four crops beside each other in two rows.

A region is the largest connected piece of a cluster in an image. Its embedding is the mean of its frozen tokens,
centred and L2-normalised; typical are the regions whose embedding is nearest (cosine) to the mean embedding of the
cluster's regions, one an image. No label is looked at. Of a large split only `IMAGES` images, spread evenly, are
searched, so that memory does not grow with the set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from patchbank.bank.centring import EPSILON
from patchbank.bank.reader import open_bank
from patchbank.bank.statistics import Statistics
from patchbank.datasets.manifest import Entry, Manifest
from patchbank.drawing.overlay import edges, nearest, region_pixels
from patchbank.drawing.pictures import choose
from patchbank.errors import UserError
from patchbank.predictions import PredictionReader
from patchbank.progress import track
from patchbank.report.page.gallery import write_jpeg
from patchbank.report.panel import PanelColumn, labels_of

IMAGES = 1000
"""Images that are searched for typical regions."""

CROPS, ACROSS = 8, 4
SIDE = 112
"""Side of a crop in pixels."""

SMALLEST = 0.005
"""Regions below this share of the patch grid are not shown."""

MARGIN = 0.2
"""What a crop shows around its region, as a share of the region's longer side."""

GAP = 4


@dataclass(frozen=True)
class Sheet:
    """One cluster.

    Attributes:
        cluster: its number.
        klass: the class it is matched to, -1 none, None unnamed.
        images: how many it is in.
        file: of its crops.
        share: of all patches, percent.
        nearest: the other cluster whose regions look most like its own, None where it is alone.
    """

    cluster: int
    klass: int | None
    images: int
    file: str
    share: float = 0.0
    nearest: int | None = None


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one method: cluster and position of the image of each, and their embeddings of unit length (D,).

    `patches` counts those of every cluster, in all images.
    """

    clusters: list[int] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    embeddings: list[NDArray[np.float32]] = field(default_factory=list)
    patches: Counter[int] = field(default_factory=Counter)


def draw_sheets(
    manifest: Manifest, columns: Sequence[PanelColumn], bank: Path, statistics: Path, folder: Path
) -> dict[str, list[Sheet]]:
    """Find the typical regions of every column's clusters and write the sheets into `folder`.

    Args:
        manifest: the dataset.
        columns: the methods.
        bank: `whole` bank of the evaluation split (folder or pointer).
        statistics: of the train tokens.
        folder: an empty folder.

    Returns:
        Sheets by method, in the order of the matched classes, unmatched clusters last.

    Raises:
        UserError: predictions and bank hold different images.
    """
    entries = choose(manifest.entries(manifest.eval_split), IMAGES)
    clusters = [PanelColumn(c.title, c.prediction, c.variant, c.table) for c in columns]
    with ExitStack() as stack:
        readers = [stack.enter_context(PredictionReader(column.prediction)) for column in clusters]
        of_columns = _search(entries, clusters, readers, bank, Statistics.load(statistics).mean)
        chosen = [typical(regions) for regions in of_columns]
        crops = _crops(manifest, entries, clusters, readers, chosen)
    sheets: dict[str, list[Sheet]] = {}
    for index, column in enumerate(columns):
        made, alike, total = [], nearest_clusters(of_columns[index]), of_columns[index].patches.total()
        for cluster, rows in chosen[index].items():
            pieces = [crops[index, cluster, row] for row in rows]
            file = write_jpeg(folder / f"{column.title}.{cluster:03d}.jpg", _sheet(pieces))
            klass = int(column.assignment[cluster]) if len(column.assignment) else None
            share = 100 * of_columns[index].patches[cluster] / total
            images = of_columns[index].clusters.count(cluster)
            made.append(Sheet(cluster, klass, images, file, share, alike.get(cluster)))
        last = len(manifest.classes)
        made.sort(key=lambda s: (last if s.klass is None or s.klass < 0 else s.klass, s.cluster))
        sheets[column.title] = made
    return sheets


def region_of(labels: NDArray[np.int64], cluster: int) -> NDArray[np.bool_]:
    """The largest connected piece of a cluster on the patch grid, the first one of equals; (h, w) bool."""
    pieces, count = ndimage.label(labels == cluster)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    largest: NDArray[np.bool_] = pieces == 1 + sizes[1:].argmax()
    return largest


def _search(
    entries: Sequence[Entry],
    columns: Sequence[PanelColumn],
    readers: Sequence[PredictionReader],
    bank: Path,
    mean: NDArray[np.float64],
) -> list[Regions]:
    tokens_of = open_bank(bank)
    row_of = {image: row for row, image in enumerate(tokens_of.images)}
    of_columns = [Regions() for _ in columns]
    for index, entry in enumerate(track(entries, "typical regions", "image")):
        if entry.id not in row_of:
            raise UserError(f"{tokens_of.folder} has no image {entry.id}; extract again with this manifest.")
        tokens = tokens_of.read([row_of[entry.id]], ("tokens",))["tokens"].reshape(-1, tokens_of.dim)
        tokens = tokens.astype(np.float32) - mean.astype(np.float32)
        for regions, column, reader in zip(of_columns, columns, readers, strict=True):
            labels = nearest(labels_of(column, reader, entry.id), *tokens_of.grid)
            for cluster, count in zip(*(part.tolist() for part in np.unique(labels, return_counts=True)), strict=True):
                regions.patches[cluster] += count
                if cluster < 0:
                    continue
                region = region_of(labels, cluster).ravel()
                if region.sum() >= SMALLEST * region.size:
                    embedding = tokens[region].mean(0)
                    regions.clusters.append(cluster)
                    regions.images.append(index)
                    regions.embeddings.append(embedding / max(float(np.linalg.norm(embedding)), EPSILON))
    return of_columns


def typical(regions: Regions) -> dict[int, list[int]]:
    """Images of the typical regions of each cluster, the most typical first, at most `CROPS`; ties by position."""
    clusters, images = np.array(regions.clusters, dtype=np.int64), np.array(regions.images, dtype=np.int64)
    chosen: dict[int, list[int]] = {}
    for cluster in np.unique(clusters).tolist():
        rows = np.flatnonzero(clusters == cluster)
        embeddings = np.stack([regions.embeddings[row] for row in rows])
        likeness = embeddings @ embeddings.mean(0)
        chosen[cluster] = images[rows[np.argsort(-likeness, kind="stable")[:CROPS]]].tolist()
    return chosen


def nearest_clusters(regions: Regions) -> dict[int, int]:
    """The other cluster with the most similar mean embedding (cosine; the first of equals) of each cluster."""
    clusters = np.array(regions.clusters, dtype=np.int64)
    known = np.unique(clusters)
    if len(known) < 2:
        return {}
    embeddings = np.stack(regions.embeddings)
    means = np.stack([embeddings[clusters == cluster].mean(0) for cluster in known])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), EPSILON)
    likeness = means @ means.T
    np.fill_diagonal(likeness, -np.inf)
    return dict(zip(known.tolist(), known[likeness.argmax(1)].tolist(), strict=True))


def _crops(
    manifest: Manifest,
    entries: Sequence[Entry],
    columns: Sequence[PanelColumn],
    readers: Sequence[PredictionReader],
    chosen: Sequence[Mapping[int, Sequence[int]]],
) -> dict[tuple[int, int, int], NDArray[np.uint8]]:
    """Crops by (column, cluster, entry); every image is decoded once."""
    wanted: dict[int, list[tuple[int, int]]] = {}
    for index, clusters in enumerate(chosen):
        for cluster, rows in clusters.items():
            for row in rows:
                wanted.setdefault(row, []).append((index, cluster))
    crops = {}
    for row in track(sorted(wanted), "cluster sheets", "image"):
        image = np.asarray(manifest.image(entries[row]), dtype=np.uint8)
        for index, cluster in wanted[row]:
            labels = labels_of(columns[index], readers[index], entries[row].id)
            region = region_pixels(region_of(labels, cluster), *image.shape[:2])
            crops[index, cluster, row] = crop(image, region)
    return crops


def crop(image: NDArray[np.uint8], region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A square (SIDE, SIDE, 3) around a region of an image (H, W, 3); what lies outside the region is pale and grey."""
    height, width = region.shape
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    longer = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = min(int(longer * (1 + 2 * MARGIN)) + 1, height, width)
    # a region longer than the shorter side of the picture is cut at its ends
    top = _start(rows[0], rows[-1], side, height)
    left = _start(columns[0], columns[-1], side, width)
    window = np.s_[top : top + side, left : left + side]
    small = Image.fromarray(image[window]).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    pixels = np.asarray(small, dtype=np.float64)
    inside = nearest(region[window], SIDE, SIDE)
    grey = 0.5 * (pixels @ np.array([0.299, 0.587, 0.114]))[..., None] + 110
    drawn = np.where(inside[..., None], pixels, grey)
    drawn[edges(inside.astype(np.int64))] = 20
    return np.round(drawn).astype(np.uint8)


def _start(first: int, last: int, side: int, size: int) -> int:
    return int(np.clip((first + last + 1 - side) // 2, 0, size - side))


def _sheet(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    lines = (len(crops) + ACROSS - 1) // ACROSS
    sheet = np.full((lines * (SIDE + GAP) - GAP, ACROSS * (SIDE + GAP) - GAP, 3), 255, dtype=np.uint8)
    for index, piece in enumerate(crops):
        top, left = (index // ACROSS) * (SIDE + GAP), (index % ACROSS) * (SIDE + GAP)
        sheet[top : top + SIDE, left : left + SIDE] = piece
    return sheet
