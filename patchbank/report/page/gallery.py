"""The gallery: a few evaluation images, each as a picture, as truth and as every method sees it, in files of their own.

Inputs: manifest, prediction files (through the panel's columns) and the scores of single images. Output: a folder of
JPEGs `<content id>.<shown>.jpg`, `shown` being `image`, `truth`, a method or `pca`, and what the page says of them.

Three groups: a sample spread evenly over the list, chosen without looking at any score, and the images with the
highest and the lowest score of the first method that has scores. An image may stand in several groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from patchbank.datasets.listing import SOFTWARE
from patchbank.datasets.manifest import Entry, Manifest
from patchbank.drawing.overlay import Colours, Labels, class_colours, nearest, number_positions, overlay, palette
from patchbank.drawing.pictures import choose, fit
from patchbank.errors import UserError
from patchbank.predictions import PredictionReader
from patchbank.progress import track
from patchbank.report.page.components import Components
from patchbank.report.page.scores import ImageScores
from patchbank.report.panel import CLUSTER_COLOURS, PanelColumn, check_column, pixels_of, truth_of

IMAGE, TRUTH, PCA = "image", "truth", "pca"
QUALITY = 88


@dataclass(frozen=True)
class Shot:
    """One image of the gallery.

    Attributes:
        id: content id.
        name: path of the image in its set.
        pictures: file of each thing shown (`image`, `truth`, methods, `pca`), relative to the gallery's folder.
        scores: by method, then by name of the score, percent.
        width, height: of the pictures, pixels.
    """

    id: str
    name: str
    pictures: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]
    width: int
    height: int


@dataclass(frozen=True)
class Gallery:
    """What the page shows: groups of shots, what can be looked at, and which classes occur.

    Attributes:
        groups: shots by group (`sample`, `best`, `worst`).
        shown: what can be looked at, in order.
        ranked_by: (method, score) that best and worst are told by; None without scores.
        classes: ids of the classes and special codes that the truth and named columns show.
        unnamed: whether some columns show clusters that name no class.
    """

    groups: Mapping[str, Sequence[Shot]] = field(default_factory=dict)
    shown: Sequence[str] = ()
    ranked_by: tuple[str, str] | None = None
    classes: Sequence[int] = ()
    unnamed: bool = False


def choose_images(
    entries: Sequence[Entry], count: int, scores: Mapping[str, ImageScores]
) -> tuple[dict[str, list[Entry]], tuple[str, str] | None]:
    """The images of each group, at most `count` in all.

    Args:
        entries: the evaluation split.
        count: images in all; with scores a third each, the sample first.
        scores: of the methods, in their order; best and worst follow the first one's `matched`.

    Returns:
        Entries by group, and the (method, score) of the ranking. Ties are broken by content id.
    """
    if not scores:
        return {"sample": choose(entries, count)}, None
    method, scored = next(iter(scores.items()))
    score = next(iter(scored.scores))
    known = {entry.id: entry for entry in entries}
    values = scored.scores[score]
    rows = [row for row in range(len(scored.images)) if not np.isnan(values[row]) and scored.images[row] in known]
    ranked = [known[scored.images[row]] for row in sorted(rows, key=lambda row: (-values[row], scored.images[row]))]
    few = min(count // 3, len(ranked))
    groups = {"sample": choose(entries, count - 2 * few), "best": ranked[:few], "worst": ranked[::-1][:few]}
    return {name: group for name, group in groups.items() if group}, (method, score)


def draw_gallery(
    manifest: Manifest,
    columns: Sequence[PanelColumn],
    scores: Mapping[str, ImageScores],
    count: int,
    folder: Path,
    bank: Path,
) -> Gallery:
    """Choose the images, write their pictures into `folder`, and say what they are.

    Args:
        manifest: the dataset.
        columns: the methods, left to right.
        scores: of the columns that have some, by title.
        count: images in all; 0 for none.
        folder: an empty folder.
        bank: `whole` bank of the evaluation split (folder or pointer), for PCA pictures.

    Raises:
        UserError: a prediction file is missing, lacks an image or its variant.
    """
    titles = _titles(columns)
    entries = manifest.entries(manifest.eval_split)
    groups, ranked_by = choose_images(entries, count, scores)
    components = Components(bank, entries) if groups else None
    chosen = {entry.id: entry for group in groups.values() for entry in group}
    classes = class_colours(manifest.colours, len(manifest.classes))
    shots, seen = dict[str, Shot](), set[int]()
    with ExitStack() as stack:
        readers = [stack.enter_context(PredictionReader(column.prediction)) for column in columns]
        for column, reader in zip(columns, readers, strict=True):
            check_column(column, reader)
        for entry in track(list(chosen.values()), "gallery", "image"):
            pixels = _small(manifest.image(entry))
            size = pixels.shape[:2]
            drawn = {IMAGE: pixels}
            if (truth := truth_of(manifest, entry)) is not None:
                truth = nearest(truth, *size)
                drawn[TRUTH] = picture(pixels, truth, classes)
                seen.update(np.unique(truth).tolist())
            for column, reader in zip(columns, readers, strict=True):
                drawn[column.title], used = _of_method(column, reader, entry.id, pixels, classes)
                seen.update(used)
            if components is not None:
                drawn[PCA] = components.picture(entry, size)
            shots[entry.id] = Shot(
                id=entry.id,
                name=entry.image,
                pictures={shown: write_jpeg(folder / f"{entry.id}.{shown}.jpg", p) for shown, p in drawn.items()},
                scores={title: scored.of(entry.id) for title, scored in scores.items()},
                width=size[1],
                height=size[0],
            )
    return Gallery(
        groups={name: [shots[entry.id] for entry in group] for name, group in groups.items()},
        shown=[IMAGE, *([TRUTH] if manifest.labelled else []), *titles, PCA] if shots else [],
        ranked_by=ranked_by,
        classes=[*sorted(value for value in seen if value >= 0), *sorted((v for v in seen if v < 0), reverse=True)],
        unnamed=any(not len(column.assignment) for column in columns),
    )


def _titles(columns: Sequence[PanelColumn]) -> list[str]:
    """What the methods are called; `UserError` for two of one name, or one that something else has."""
    titles = [column.title for column in columns]
    if repeated := sorted({title for title in titles if titles.count(title) > 1 or title in (IMAGE, TRUTH, PCA)}):
        raise UserError(f"the gallery needs another name for each method than {', '.join(repeated)}.")
    return titles


def _small(image: Image.Image) -> NDArray[np.uint8]:
    small = image.resize(fit(image.width, image.height), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(small, dtype=np.uint8)


def _of_method(
    column: PanelColumn, reader: PredictionReader, image: str, pixels: NDArray[np.uint8], classes: Colours
) -> tuple[NDArray[np.uint8], list[int]]:
    """What a method says of an image, and which classes that shows; none where its clusters name no class."""
    labels = pixels_of(column, reader, image, (pixels.shape[0], pixels.shape[1]))
    named = len(column.assignment) > 0
    drawn = picture(pixels, labels, classes if named else palette(CLUSTER_COLOURS))
    return drawn, np.unique(labels).tolist() if named else []


def picture(pixels: NDArray[np.uint8], labels: Labels, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels over the image, with each large region's number, because colour alone tells few classes apart."""
    drawn = Image.fromarray(overlay(pixels, labels, colours))
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(20)
    for value, row, column in number_positions(labels):
        pen.text((column, row), str(value), "white", font, anchor="mm", stroke_width=2, stroke_fill="black")
    return np.asarray(drawn, dtype=np.uint8)


def write_jpeg(path: Path, pixels: NDArray[np.uint8]) -> str:
    """Write a picture into a folder that nobody sees yet; return the file's name."""
    Image.fromarray(pixels).save(path, "JPEG", quality=QUALITY, subsampling=0, optimize=True, comment=SOFTWARE)
    return path.name
