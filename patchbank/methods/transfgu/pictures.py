"""The way from windows to pseudo labels on some training images, so that one sees where quality is lost.

| column | what it shows |
|---|---|
| image | the training image |
| windows | brighter where more of the selected windows lie; some of them are outlined in their centroid's colour |
| pseudo label | the strongest map of every patch; colours and numbers are channels, 0 a background |
| strongest maps | the maps of the centroids that win most of the image, bright where they are strong |

A window's centroid is the nearest one to its class token. Token similarity has no windows, and no such column.
Predictions on evaluation images stand in the gallery, and the pseudo labels' own scores in a row of their own
(``stage: pseudo_labels``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from patchbank.bank.reader import Bank, open_bank
from patchbank.checkpoints.store import load_checkpoint
from patchbank.clustering.kmeans import assign
from patchbank.datasets.manifest import Manifest
from patchbank.drawing.layout import Cell, Grid, draw_grid
from patchbank.drawing.overlay import nearest, overlay, palette
from patchbank.drawing.pictures import choose, fit, shorten
from patchbank.methods.jobs import PictureJob
from patchbank.methods.transfgu.predict import map_scores
from patchbank.views.windows import BACKGROUND, FOREGROUND

ROWS = 6
WIDTH = 260
"""Width and largest height of a picture in pixels."""

MAPS = 3
"""Maps an image, of the centroids that win most patches."""

OUTLINES = 6
"""Windows that are outlined, spread evenly over those selected."""

COLOURS = 40


def draw(job: PictureJob) -> None:
    """Draw the pictures of a trained segmenter, from banks ``windows`` and ``lastblock``, or ``whole``."""
    listed = Manifest.load(job.manifest)
    entries = choose(listed.entries(listed.train_split), ROWS)
    opened = {name: open_bank(path) for name, path in job.banks.items()}
    source = opened["whole" if job.settings["pseudo_label"] == "token_similarity" else "lastblock"]
    images = [source.images.index(entry.id) for entry in entries]
    options, maps = map_scores(source, job.checkpoint, torch.device("cpu"), images)
    centroids = load_checkpoint(job.checkpoint)[0]["centroids"].numpy()
    colours, rows = palette(COLOURS), []
    for index, entry, scores in zip(images, entries, maps, strict=True):
        image = listed.image(entry)
        size = fit(image.width, image.height, WIDTH)
        pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0), dtype=np.uint8)
        cells = [Cell(pixels, shorten(Path(entry.image).name, 28))]
        if "windows" in opened:
            first = int(options.background)  # channel 0 of the maps is background then, and centroid t is channel t + 1
            cells.append(_windows(opened["windows"], index, pixels, centroids, options.things, colours[first:]))
        cells += _maps(scores[0].numpy(), pixels, colours, first=int(options.background))
        rows.append(cells)
    titles = ["image", *(["windows"] if "windows" in opened else []), "pseudo label"]
    titles += ["strongest map", *(f"{rank} strongest map" for rank in ("2nd", "3rd")[: MAPS - 1])]
    titles = titles[: max(map(len, rows))]
    draw_grid(Grid(titles, rows, WIDTH, [], colours), job.out)


def _windows(
    bank: Bank,
    row: int,
    pixels: NDArray[np.uint8],
    centroids: NDArray[np.float32],
    things: int,
    colours: NDArray[np.uint8],
) -> Cell:
    """How many selected windows lie over each pixel, and some of them with the centroid that they are nearest to."""
    stored = bank.read([row], ("window", "boxes", "cls"))
    codes, boxes, cls = (stored[name][0] for name in ("window", "boxes", "cls"))
    height, width = pixels.shape[:2]
    scale = np.array([width / bank.input_size[1], height / bank.input_size[0]] * 2)
    corners = np.round(boxes * scale).astype(np.int64)
    corners[:, :2] = np.minimum(corners[:, :2], (width - 1, height - 1))
    corners[:, 2:] = np.maximum(corners[:, 2:], corners[:, :2] + 1)  # in a thin picture a window is a pixel at least
    chosen = np.flatnonzero(codes == FOREGROUND)
    heat = np.zeros((height, width))
    for x0, y0, x1, y1 in corners[chosen].tolist():
        heat[y0:y1, x0:x1] += 1
    shown = Image.fromarray(_lit(pixels, heat))
    pen = ImageDraw.Draw(shown)
    for index in chosen[(np.arange(OUTLINES) * len(chosen)) // OUTLINES] if len(chosen) else ():
        nearest_one = int(assign(cls[index : index + 1], centroids[:things], spherical=False)[0])
        x0, y0, x1, y1 = corners[index].tolist()
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=tuple(colours[nearest_one % len(colours)].tolist()), width=2)
    caption = f"{len(chosen)} of {len(codes)} selected"
    behind = int((codes == BACKGROUND).sum())
    return Cell(np.asarray(shown), caption + (f", {behind} background" if behind else ""))


def _maps(
    scores: NDArray[np.float32], pixels: NDArray[np.uint8], colours: NDArray[np.uint8], first: int
) -> Sequence[Cell]:
    """The pseudo label of an image, and the maps (K, h, w) that win most of it; channel 0 may be background."""
    height, width = pixels.shape[:2]
    winners = scores.argmax(0)
    labels = nearest(winners.astype(np.int64), height, width)
    cells = [Cell(overlay(pixels, labels, colours), "", labels, named=False)]
    shares = np.bincount(winners.ravel(), minlength=len(scores)) / winners.size
    for k in np.argsort(-shares, kind="stable")[:MAPS].tolist():
        name = "background" if first and k == 0 else f"cluster {k}"
        cells.append(Cell(_lit(pixels, nearest(scores[k], height, width)), f"{name}: wins {100 * shares[k]:.0f} %"))
    return cells


def _lit(pixels: NDArray[np.uint8], heat: NDArray[Any]) -> NDArray[np.uint8]:
    """The picture, bright where `heat` (h, w) is large and dark where it is small."""
    low, high = float(heat.min()), float(heat.max())
    strength = (heat - low) / (high - low) if high > low else np.ones_like(heat)
    lit: NDArray[np.uint8] = np.round(pixels * (0.15 + 0.85 * strength)[..., None]).astype(np.uint8)
    return lit
