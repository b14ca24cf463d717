"""Label maps of rasters, too large to be in memory: made and written in bands of rows.

`labels/<name>.tif` of a raster is a tiled TIFF of ids with palette, where the raster was a GeoTIFF at its place on the
map, instead of the PNG of other pictures; the same texts stand as JSON in its description.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from patchbank.datasets.geo import Geo, extra_tags
from patchbank.drawing.mark import marks
from patchbank.drawing.overlay import UNMATCHED
from patchbank.evaluation.preprocessing import Frame
from patchbank.files import atomic_path

ROWS = TILE = 512
"""Rows of a band, and the side of a tile, in pixels."""

Bands = Callable[[], Iterator[NDArray[np.int64]]]
"""Called for bands (rows, W) of ids from top to bottom, `UNMATCHED` for none, `ROWS` rows but for the last one."""


def id_bands(
    scores: NDArray[np.float32], ids: NDArray[np.int64], size: tuple[int, int], upsample: Literal["bilinear", "nearest"]
) -> Bands:
    """Ids of every pixel of a raster, as `GridSegments.pixel_ids` has them of a picture.

    Args:
        scores: (Q, h, w), higher is better.
        ids: (Q,) id of each segment, `UNMATCHED` for none.
        size: (H, W) of the raster.
        upsample: from the patch grid to pixels.
    """
    grid: NDArray[Any] = scores.argmax(0)
    if upsample == "bilinear":
        nameless = (ids == UNMATCHED) & (np.bincount(grid.ravel(), minlength=len(ids)) == 0)
        powers = np.exp(scores - scores.max(0))
        grid = np.where(nameless[:, None, None], np.float32(-1), powers / powers.sum(0))

    def bands() -> Iterator[NDArray[np.int64]]:
        height, width = size
        for top in range(0, height, ROWS):
            rows = np.arange(top, min(top + ROWS, height))
            yield ids[Frame(rows, np.arange(width), size, (top, 0)).segments(grid, upsample)]

    return bands


def write_labels(
    path: Path,
    bands: Bands,
    size: tuple[int, int],
    palette: NDArray[np.uint8],
    texts: Mapping[str, str],
    geo: Geo | None = None,
    more: Sequence[tuple[int, int, int, Any, bool]] = (),
) -> None:
    """Write a label map of 8 bits, atomically.

    Args:
        path: ends with ``.tif``.
        bands: ids below `len(palette)`.
        size: (H, W).
        palette: (256, 3) RGB; its last colour is that of pixels without an id.
        texts: what it says of itself (`patchbank.drawing.mark`), beside who wrote it.
        geo: its place on the map.
        more: further tags, as tifffile takes them.
    """
    with atomic_path(path) as temporary:
        tifffile.imwrite(
            temporary,
            _tiles(bands, len(palette) - 1),
            shape=size,
            dtype=np.uint8,
            tile=(TILE, TILE),
            compression="zlib",
            bigtiff=size[0] * size[1] > 1 << 31,
            metadata=None,
            photometric="palette",
            colormap=palette.T.astype(np.uint16) * 257,
            software=marks()["Software"],
            description=json.dumps(marks() | dict(texts)),
            extratags=[*more, *extra_tags(geo)],
        )


def _tiles(bands: Bands, none: int) -> Iterator[NDArray[np.uint8]]:
    """Tiles (`TILE`, `TILE`) from left to right and top to bottom, padded."""
    for band in bands():
        labels = np.where(band == UNMATCHED, none, band).astype(np.uint8)
        labels = np.pad(labels, ((0, TILE - len(labels)), (0, -labels.shape[1] % TILE)))
        for left in range(0, labels.shape[1], TILE):
            yield np.ascontiguousarray(labels[:, left : left + TILE])
