"""Rasters that a set cut into tiles and `patchbank segment` squashes whole: what is said of them, and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchbank.datasets.manifest import Manifest, manifest_above
from patchbank.datasets.raster import tiff_size
from patchbank.datasets.tiles import tile_of, tiles_of
from patchbank.inference.inputs import Input


def set_tile(checkpoint: str | Path) -> int | None:
    """Side in pixels, about, of the tiles that the set of a checkpoint was cut into; None where none are known."""
    file = manifest_above(Path(checkpoint).resolve(), 2)
    if file is None:
        return None
    manifest = Manifest.load(file)
    entries = (entry for split in manifest.splits.values() for entry in split)
    sides = (max(one.width, one.height) for one in entries if tile_of(manifest.root / one.image)[1] is not None)
    return next(sides, None)


def squashed_whole(inputs: Sequence[Input], tile: int, size: int) -> str:
    """A sentence on the TIFFs that the set would have cut, "" where there is none.

    Args:
        inputs: what is segmented without a window.
        tile: side of the set's tiles in pixels.
        size: side to which pictures are squashed, as the set's tiles were.
    """
    sizes = [found for one in inputs if (found := tiff_size(one.path)) is not None]
    count = sum(len(tiles_of(found, tile)) > 1 for found in sizes)
    if not count:
        return ""
    window = f"--window {min(tile, size)}" + (f" --scale {size / tile:.2g}" if tile > 1.5 * size else "")
    return (
        f"{count} of {len(inputs)} pictures are TIFFs that the row's set would have cut into tiles of about {tile} "
        f"pixels, and are squashed whole; {window} shows the encoder as much at a time as a tile did."
    )
