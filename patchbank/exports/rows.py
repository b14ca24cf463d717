"""Labels of a row of results: its predictions of the evaluation split, at the pictures' own sizes.

Where clusters are matched to classes (a labelled set), labels are those classes, as the pages show them; else, or where
clusters or names for them are asked for, labels are the clusters of one number and seed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.formats import without_suffix
from patchbank.datasets.geo import read_geo
from patchbank.datasets.manifest import Entry, Manifest
from patchbank.datasets.pages import located
from patchbank.drawing.overlay import class_colours, palette
from patchbank.errors import UserError
from patchbank.evaluation.preprocessing import frame
from patchbank.exports.joined import Read, join, split
from patchbank.exports.source import NAMED, Choice, Labels, Picture, Source, Upsample, categories_of, pick
from patchbank.files import read_json, read_npz
from patchbank.inference.pictures import GridSegments
from patchbank.left_out import left_out_at
from patchbank.names import choose, load_names, merge, named
from patchbank.predictions import PredictionReader
from patchbank.report.page.naming import KEPT, fit_of
from patchbank.report.page.scores import tables_beside
from patchbank.variants import k_and_seed


@dataclass(frozen=True, eq=False)
class Clusters:
    """The clusters of a row.

    Attributes:
        prediction: prediction file.
        group: the variant to read in it.
        variant: number of clusters and seed.
        count: of the clusters.
        table: (n, Q) cluster of each segment of each image, -1 for none; None where segments are clusters already.
        assignment: (count,) class of each cluster, -1 for none; None without a matching.
    """

    prediction: Path
    group: str
    variant: str
    count: int
    table: NDArray[np.int32] | None = None
    assignment: Labels | None = None


def open_row(folder: Path, choice: Choice) -> Source:
    """The labels of ``results/<set>/<row>`` or of one training of it, ``.../seed<n>``.

    Raises:
        UserError: there are no predictions, or names or variant do not belong to them.
    """
    seed = _seed_folder(folder)
    manifest = Manifest.load(seed.parents[1] / "manifest.json")
    clusters = _clusters(seed, manifest.eval_split, choice)
    path = choice.names or _kept_names(seed, clusters, choice)
    if clusters.assignment is not None and not choice.clusters and path is None:
        kind, table = "classes", clusters.assignment
        colours = class_colours(manifest.colours, len(manifest.classes))
        categories = categories_of(manifest.classes, colours, manifest.things)
    else:
        names = [f"cluster {index}" for index in range(clusters.count)]
        if path is not None:
            given = choose(path, seed.parent.name, clusters.variant, [fit_of(seed)])
            names = named(clusters.count, given, path)
        merged, table, first = merge(names)
        kind, categories = "clusters", categories_of(merged, palette(clusters.count)[first])
    entries = {entry.id: entry for entry in manifest.entries(manifest.eval_split)}
    read = partial(_read, manifest.root, entries, clusters, table, choice.upsample)
    count = sum(len(part) for part in split(manifest.root, [entry.image for entry in entries.values()]))
    return Source(seed, kind, categories, count, read)


def _kept_names(seed: Path, clusters: Clusters, choice: Choice) -> Path | None:
    """The names that the set's page shows, where it names the very clusters of this training."""
    path = seed.parents[1] / KEPT
    if choice.clusters or clusters.assignment is not None or not path.is_file():
        return None
    these = seed.parent.name, clusters.variant, fit_of(seed)
    return path if any((one.row, one.variant, one.fit) == these for one in load_names(path)) else None


def _seed_folder(folder: Path) -> Path:
    """The folder of one training; of a row's own folder, the one that its matching names, or the first."""
    seeds = sorted(folder.glob("seed*"), key=lambda seed: (len(seed.name), seed.name))
    if seeds:
        seed = _matching(folder).get("training_seed")
        return seeds[0] if seed is None else folder / f"seed{seed}"
    if not (folder.parent.parent / "manifest.json").is_file():
        raise UserError(f"{folder} is no row of results and no folder of `patchbank segment`. {NAMED}")
    return folder


def _matching(row: Path) -> Mapping[str, Any]:
    """The matching of a row's clusters to classes, empty where nothing is matched."""
    scores = row / "scores.json"
    if (entry := left_out_at(scores)) is not None:
        raise UserError(f"{row} was left out: {entry.sentence}")
    return (read_json(scores).get("matching") or {}) if scores.is_file() else {}


def _clusters(seed: Path, split: str, choice: Choice) -> Clusters:
    row, prediction = seed.parent, seed / f"{split}.h5"
    if not prediction.is_file():
        advice = f"it is made of row {row.name.split('+')[0]}, export that one" if "+" in row.name else "run it first"
        raise UserError(f"{seed} has no predictions of split {split!r}; {advice}.")
    matching = _matching(row)
    if matching and f"seed{matching['training_seed']}" != seed.name:
        matching = {}
    with PredictionReader(prediction) as reader:
        kind, sizes, images = reader.record.kind, reader.variants, len(reader.images)
    arrays: Mapping[str, NDArray[Any]] = {}
    if kind == "segments":
        number = int(seed.name.removeprefix("seed"))
        arrays = read_npz(tables_beside(row.parent, row.name, number))
        sizes = dict(zip(map(str, arrays["tables"]), map(int, arrays["k_used"]), strict=True))
    variant = choice.variant or matching.get("variant") or min(sizes, key=k_and_seed)
    if variant not in sizes:
        raise UserError(f"{seed} has no variant {variant!r}; choose one of {', '.join(sorted(sizes, key=k_and_seed))}.")
    table = arrays.get(variant)
    if table is not None and len(table) != images:
        raise UserError(f"{prediction} has {images} images and its clusters {len(table)}; run segment_clusters again.")
    matched = matching.get("assignment") and matching["variant"] == variant
    assignment = np.array(matching["assignment"], dtype=np.int64) if matched else None
    count = sizes[variant] if assignment is None else len(assignment)
    return Clusters(prediction, "segments" if kind == "segments" else variant, variant, count, table, assignment)


def _read(
    root: Path, entries: Mapping[str, Entry], clusters: Clusters, table: Labels, upsample: Upsample
) -> Iterator[Picture]:
    with PredictionReader(clusters.prediction) as reader:
        images = list(reader.images)
    if absent := [image for image in images if image not in entries]:
        raise UserError(f"{clusters.prediction} has image {absent[0]}, which the manifest does not; predict again.")
    whole, rasters = split(root, [entries[image].image for image in images])
    files = [*whole, *rasters]
    stems = Counter(map(without_suffix, files))
    names = {file: stem if stems[stem := without_suffix(file)] == 1 else file for file in files}
    sizes = [(entries[image].width, entries[image].height) for image in images]
    read = partial(_opened, clusters, table, upsample)
    with read() as labels:
        for file, row in whole.items():
            entry, path = entries[images[row]], root / file
            pixels, gone = labels(row, (entry.height, entry.width)), not os.access(located(path)[0], os.R_OK)
            yield Picture(names[file], file, pixels, read_geo(path), gone=path if gone else None)
    for file, tiles in rasters.items():
        yield join(root / file, names[file], file, tiles, sizes, read)


@contextmanager
def _opened(clusters: Clusters, table: Labels, upsample: Upsample) -> Iterator[Read]:
    """Labels (H, W) of a row of the predictions at a size."""
    with PredictionReader(clusters.prediction) as reader:
        segments = np.arange(reader.variants[clusters.group])

        def read(row: int, size: tuple[int, int]) -> Labels:
            ids = pick(table, segments if clusters.table is None else clusters.table[row])
            return _pixels(reader, clusters.group, row, ids, size, upsample)

        yield read


def _pixels(
    reader: PredictionReader, group: str, row: int, ids: Labels, size: tuple[int, int], upsample: Upsample
) -> Labels:
    """Labels (H, W) of one image; where no scores are stored, those of the nearest patch."""
    scores = reader.scores(group, row, row + 1)
    if scores is not None:
        return GridSegments(scores[0], ids).pixel_ids(*size, upsample)
    grid = reader.labels(group, row, row + 1)[0]
    return frame("full", size, size).segments(pick(ids, grid), "nearest")
