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
from patchbank.drawing.mark import texts_of
from patchbank.errors import UserError
from patchbank.exports.source import NAMED, Choice, Labels, Picture, Source, categories_of
from patchbank.files import read_json
from patchbank.inference.pictures import LEGEND, NO_ID
from patchbank.names import choose, merge, named


def open_segmented(folder: Path, choice: Choice) -> Source:
    """The labels of such a folder.

    Raises:
        UserError: it holds none, or names of other clusters are given.
    """
    legend = read_json(folder / LEGEND)
    if not isinstance(legend, dict) or "no_id" not in legend or not isinstance(legend.get("ids"), list):
        raise UserError(f"{folder / LEGEND} was not written by `patchbank segment`. {NAMED}")
    files = sorted((folder / "labels").rglob("*.png"))
    if not files:
        raise UserError(f"{folder} holds no label maps yet; run `patchbank segment PICTURES --out {folder}` first.")
    if choice.variant or choice.clusters:
        raise UserError(f"{folder} holds finished ids; --variant and --clusters choose among those of a row.")
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
        texts, ids = texts_of(path), load_raw(path)
        if ids.max() > NO_ID:
            raise UserError(f"{path} is not a label map of `patchbank segment`; name the folder as that left it.")
        file = os.fsdecode(unquote_to_bytes(texts["Picture"])) if "Picture" in texts else f"{name}.png"
        yield Picture(name.as_posix(), file, padded[ids], geo_of_text(texts.get("Geo")))
