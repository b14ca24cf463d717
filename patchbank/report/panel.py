"""Draw the qualitative panel: a few evaluation images, their truth, and what each method says, in matched colours.

Inputs: the manifest, and for each method a prediction file (labels on the patch grid of the squashed image), the
segment cluster table (n, Q) where its segments have no identity across images, and the assignment of clusters to
classes. Output: a PNG whose bytes depend on the inputs (and the library versions) only.

A patch's segment becomes its cluster (table), its cluster becomes a class (assignment), and the softmax of the scores
is interpolated to the image's own size, which costs nothing and is worth 0.7 points (`+bilinear` in docs/results.md);
a number of clusters without stored scores takes the nearest patch. Under each picture stand the share of labelled
pixels in the right class and the mean IoU over the classes present, of this image alone, at its own size; the tables'
scores are made by the protocols, not here. Without labels there is no truth, and colours tell clusters apart without
naming them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets.images import load_labels
from patchbank.datasets.manifest import Entry, Manifest
from patchbank.drawing.layout import Cell, Grid, draw_grid
from patchbank.drawing.overlay import IGNORED, UNMATCHED, Labels, class_colours, nearest, overlay, palette
from patchbank.drawing.pictures import WIDTH, choose, fit, shorten
from patchbank.errors import UserError
from patchbank.evaluation.soft import pixel_ids
from patchbank.files import read_json, read_npz
from patchbank.left_out import left_out_at
from patchbank.predictions import PredictionReader
from patchbank.variants import k_and_seed

IGNORE = 255
"""Value of ignored pixels in label maps of `load_labels`."""

CLUSTER_COLOURS = 40
"""Colours for clusters that belong to no class; further clusters start again from the first."""


@dataclass(frozen=True)
class PanelColumn:
    """One method of the panel.

    Attributes:
        title: what stands above the column.
        prediction: prediction file of the evaluation split.
        variant: variant to read, e.g. ``"segments"`` or ``"k21-s0"``.
        table: cluster (n, Q) of each segment, rows as in the prediction, -1 where a segment is empty; None where the
            labels are clusters already.
        assignment: class of each cluster, -1 for none; empty where nothing is labelled.
        clustering: number and seed of the clusters, ``k<K>-s<seed>``.
        k: number of clusters.
    """

    title: str
    prediction: Path
    variant: str
    table: NDArray[np.int32] | None = None
    assignment: Sequence[int] = field(default_factory=tuple)
    clustering: str = ""
    k: int = 0


def panel_columns(
    methods: Sequence[tuple[str, str, int]],
    predictions: Sequence[Path],
    scores: Sequence[Path],
    tables: Sequence[Path],
) -> list[PanelColumn]:
    """Columns from what the pipeline stores, in the matching of clusters to classes that `scores.json` names.

    Args:
        methods: (name, kind, training seed) of each column, kind ``"segments"`` or ``"classes"``.
        predictions: prediction file of the evaluation split of each column.
        scores: `scores.json` of each column.
        tables: segment cluster tables of the columns of kind ``segments``, in their order.

    Returns:
        One column for each method that was not left out; without a matching (no labels) the clusters of the smallest
        K and seed.

    Raises:
        UserError: a file is missing, or a matching belongs to another training seed.
    """
    waiting = iter(tables)
    beside = [next(waiting) if kind == "segments" else None for _, kind, _ in methods]
    columns = []
    for (name, _, seed), prediction, score, table in zip(methods, predictions, scores, beside, strict=True):
        if left_out_at(score) is not None:
            continue
        matching = read_json(score)["matching"] or {}
        if matching and matching["training_seed"] != seed:
            matched_seed = matching["training_seed"]
            raise UserError(f"{score} matches clusters of training seed {matched_seed}, the panel shows seed {seed}.")
        assignment = tuple(matching.get("assignment") or ())
        if table is not None:
            arrays = read_npz(table)
            variant = matching.get("variant") or min(map(str, arrays["tables"]), key=k_and_seed)
            used = dict(zip(map(str, arrays["tables"]), map(int, arrays["k_used"]), strict=True))
            shown = ("segments", arrays[variant], assignment, variant, used[variant])
            columns.append(PanelColumn(name, prediction, *shown))
        else:
            with PredictionReader(prediction) as reader:
                variant = matching.get("variant") or min(reader.variants, key=k_and_seed)
                used = reader.variants
            columns.append(PanelColumn(name, prediction, variant, None, assignment, variant, used[variant]))
    return columns


def draw_panel(manifest: Manifest, columns: Sequence[PanelColumn], out: Path, rows: int = 8) -> None:
    """Draw the panel of the evaluation split and write it as PNG, atomically.

    Args:
        manifest: the dataset.
        columns: one for each method, left to right.
        out: the PNG to write.
        rows: number of images; fewer where the split has fewer.

    Raises:
        UserError: the split is empty, a prediction file is missing, lacks a chosen image or its variant, or a table
            or an assignment does not fit the prediction.
    """
    entries = choose(manifest.entries(manifest.eval_split), rows)
    if not entries:
        raise UserError(f"{manifest.dataset}: split {manifest.eval_split!r} has no image, so there is no panel.")
    classes = class_colours(manifest.colours, len(manifest.classes))
    pictures: list[list[Cell]] = []
    with ExitStack() as stack:
        readers = [stack.enter_context(PredictionReader(column.prediction)) for column in columns]
        for column, reader in zip(columns, readers, strict=True):
            check_column(column, reader)
        for entry in entries:
            image = manifest.image(entry)
            truth = truth_of(manifest, entry)
            shown = image.resize(fit(image.width, image.height), Image.Resampling.BILINEAR, reducing_gap=3.0)
            pixels = np.asarray(shown, dtype=np.uint8)
            cells = [Cell(pixels, shorten(Path(entry.image).name))]
            if truth is not None:
                cells.append(_cell(pixels, truth, classes, "", True))
            for column, reader in zip(columns, readers, strict=True):
                labels = pixels_of(column, reader, entry.id, (image.height, image.width))
                named = len(column.assignment) > 0
                caption = score_caption(labels, truth) if named and truth is not None else ""
                colours = classes if named else palette(CLUSTER_COLOURS)
                cells.append(_cell(pixels, labels, colours, caption, named))
            pictures.append(cells)
    titles = ["image", *(["truth"] if manifest.labelled else []), *(column.title for column in columns)]
    draw_grid(Grid(titles, pictures, WIDTH, list(manifest.classes), classes), out)


def check_column(column: PanelColumn, reader: PredictionReader) -> None:
    """Raise `UserError` where variant or table do not fit the prediction file."""
    if column.variant not in reader.variants:
        raise UserError(f"{column.prediction} has variants {sorted(reader.variants)}, not {column.variant!r}.")
    wanted = (len(reader.images), reader.variants[column.variant])
    if column.table is not None and column.table.shape != wanted:
        raise UserError(f"{column.prediction} needs a cluster table {wanted}, received {column.table.shape}.")


def labels_of(column: PanelColumn, reader: PredictionReader, image: str) -> Labels:
    """Classes (or clusters, without an assignment) of one image on its patch grid, int64 (h, w)."""
    row = _row_of(column, reader, image)
    return _named(column, row, image, reader.labels(column.variant, row, row + 1)[0])


def pixels_of(column: PanelColumn, reader: PredictionReader, image: str, size: tuple[int, int]) -> Labels:
    """The same of every pixel (H, W) of `size`: the softmax of the scores between the patches, as for exports.

    Where no scores are stored (many clusters), each pixel takes the label of its patch.
    """
    row = _row_of(column, reader, image)
    scores = reader.scores(column.variant, row, row + 1)
    if scores is None:
        return nearest(labels_of(column, reader, image), *size)
    used = np.unique(scores[0].argmax(0))
    ids = np.full(len(scores[0]), UNMATCHED, dtype=np.int64)
    ids[used] = _named(column, row, image, used)
    return pixel_ids(scores[0], ids, size, "bilinear")


def _row_of(column: PanelColumn, reader: PredictionReader, image: str) -> int:
    if image not in reader.images:
        raise UserError(f"{column.prediction} has no image {image}; predict again with this manifest.")
    return reader.images.index(image)


def _named(column: PanelColumn, row: int, image: str, labels: Labels) -> Labels:
    """Classes (or clusters) of segments or clusters of the image in a row of the predictions."""
    if column.table is not None:
        labels = column.table[row].astype(np.int64)[labels]
    if not len(column.assignment):
        return labels
    if labels.max() >= len(column.assignment):
        raise UserError(
            f"{column.prediction}: image {image} has cluster {labels.max()}, the assignment names "
            f"{len(column.assignment)} clusters; score again."
        )
    assignment = np.append(np.asarray(column.assignment, dtype=np.int64), UNMATCHED)  # index -1 stays -1
    classes: Labels = assignment[labels]
    return classes


def score_caption(labels: Labels, truth: Labels) -> str:
    """``"accuracy 73 %, mIoU 41 %"`` of one image: labelled pixels only, mIoU over the classes present in it."""
    scored = truth >= 0
    if not scored.any():
        return "no labelled pixel"
    said, true = labels[scored], truth[scored]
    overlaps = []
    for value in np.unique(true):
        both, either = int(((said == value) & (true == value)).sum()), int(((said == value) | (true == value)).sum())
        overlaps.append(both / either)
    return f"accuracy {100 * float((said == true).mean()):.0f} %, mIoU {100 * float(np.mean(overlaps)):.0f} %"


def truth_of(manifest: Manifest, entry: Entry) -> Labels | None:
    """True classes (H, W) of an image at its own size, `IGNORED` where none is scored: without a mask, everywhere.

    None in a set whose evaluation split has no masks.
    """
    if not manifest.labelled:
        return None
    if entry.mask is None:
        return np.full((entry.height, entry.width), IGNORED, np.int64)
    labels = load_labels(manifest.root / entry.mask, manifest.lut).astype(np.int64)
    return np.where(labels == IGNORE, IGNORED, labels)


def _cell(pixels: NDArray[np.uint8], labels: Labels, colours: NDArray[np.uint8], caption: str, named: bool) -> Cell:
    small = nearest(labels, pixels.shape[0], pixels.shape[1])
    return Cell(overlay(pixels, small, colours), caption, small, named)
