"""Labels of a folder that `patchbank segment` wrote: palette PNGs whose ids stand in `legend.json`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from urllib.parse import unquote_to_bytes

import numpy as np

from patchbank.datasets.geo import geo_of_text
from patchbank.datasets.images import load_raw
from patchbank.datasets.raster import Raster
from patchbank.datasets.unusable import Unusable
from patchbank.drawing.mark import texts_of
from patchbank.errors import UserError
from patchbank.exports.source import NAMED, NONE, Choice, Labels, Large, Picture, Source, categories_of
from patchbank.files import is_temporary, read_json
from patchbank.inference.pictures import LEGEND, NO_ID
from patchbank.inference.rasters import ROWS
from patchbank.names import choose, merge, named


def open_segmented(folder: Path, choice: Choice) -> Source:
    """The labels of such a folder.

    Raises:
        UserError: it holds none, or names of other clusters are given.
    """
    legend = read_json(folder / LEGEND)
    if not isinstance(legend, dict) or "no_id" not in legend or not isinstance(legend.get("ids"), list):
        raise UserError(f"{folder / LEGEND} was not written by `patchbank segment`. {NAMED}")
    found = (path for path in (folder / "labels").rglob("*") if path.suffix in (".png", ".tif"))
    files = sorted(path for path in found if not is_temporary(path))
    if not files:
        raise UserError(f"{folder} holds no label maps yet; run `patchbank segment PICTURES --out {folder}` first.")
    if choice.variant or choice.clusters:
        raise UserError(f"{folder} holds finished ids; --variant and --clusters choose among those of a row.")
    if choice.upsample != "bilinear":
        raise UserError(f"{folder} holds finished pixels; --upsample is for a row, or for `patchbank segment`.")
    names = [str(one["name"]) for one in legend["ids"]]
    if choice.names is not None:
        if legend["kind"] != "clusters":
            raise UserError(f"{folder} holds {legend['kind']}, and {choice.names} names clusters; leave --names out.")
        run = legend.get("run") or {}
        given = choose(choice.names, None, legend.get("variant"), [run.get("clusters"), run.get("checkpoint")])
        names = named(len(names), given, choice.names)
    merged, table, first = merge(names)
    categories = categories_of(merged, [legend["ids"][index]["colour"] for index in first])
    read = partial(_read, folder / "labels", files, table)
    return Source(folder, legend["kind"], categories, len(files), read)


def _read(folder: Path, files: Sequence[Path], table: Labels) -> Iterator[Picture]:
    padded = np.full(NO_ID + 1, -1, dtype=np.int64)
    padded[: len(table)] = table
    for path in files:
        name = PurePosixPath(path.relative_to(folder).with_suffix(""))
        texts = texts_of(path)
        file = os.fsdecode(unquote_to_bytes(texts["Picture"])) if "Picture" in texts else f"{name}.png"
        geo = geo_of_text(texts.get("Geo"))
        if path.suffix == ".tif":
            yield Picture(name.as_posix(), file, NONE, geo, _large(path, padded))
            continue
        ids = load_raw(path)
        if ids.max() > NO_ID:
            raise UserError(f"{path} is not a label map of `patchbank segment`; name the folder as that left it.")
        yield Picture(name.as_posix(), file, padded[ids], geo)


def _large(path: Path, table: Labels) -> Large:
    """The label map of a raster; `UserError` for a TIFF that `patchbank segment` did not write."""
    try:
        with Raster(path, indexed=True) as labels:
            shape = labels.height, labels.width
            if labels.values(0, 1).dtype != np.uint8:
                raise Unusable("holds no label map of `patchbank segment`")
    except Unusable as reason:
        raise UserError(f"{path}: {reason}; name the folder as that left it.") from None

    def bands() -> Iterator[Labels]:
        with Raster(path, indexed=True) as labels:
            for top in range(0, labels.height, ROWS):
                yield table[labels.values(top, min(top + ROWS, labels.height))[..., 0]]

    return Large(shape, bands)
