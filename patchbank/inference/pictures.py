"""What is written for a picture: a palette PNG of ids, an overlay, soft assignments on request.

| file | content |
|---|---|
| `labels/<name>.png` | 8-bit palette PNG of the picture's size, ids as in `legend.json`, 255 = no id |
| `labels/<name>.tif` | the same of a raster (`patchbank.datasets.raster`), as tiled TIFF |
| `overlays/<name>.png` | the ids' colours over the dimmed picture; of a raster reduced |
| `soft/<name>.npz` | `scores`, `soft` (Q, h, w) float32 of every patch, `ids` (Q,) int64, -1 = no id, `size` (H, W) |
| `legend.json` | what an id is, its name and its colour, and which run wrote here |

Each output says of which picture it is (`source` in an `.npz`, `Source` in a PNG: the beginning of the file's SHA-256).
Labels also tell the picture's name (`Picture`) and, of a GeoTIFF, where it lies (`Geo`), so that
`patchbank export labels` needs nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets.geo import geo_of_text, read_geo
from patchbank.datasets.pages import located, page_hash
from patchbank.datasets.raster import Raster, raster_size
from patchbank.drawing.mark import png_info
from patchbank.drawing.overlay import HATCH, UNMATCHED, overlay
from patchbank.evaluation.soft import pixel_ids
from patchbank.files import atomic_path, sha256_file, short_name, write_json, write_npz
from patchbank.inference.naming import MOST, Naming
from patchbank.inference.rasters import id_bands, write_labels

LEGEND = "legend.json"
DIGITS = 16
"""Hexadecimal digits that tell pictures, checkpoints and weights apart."""
NO_ID = 255
GREY = (128, 128, 128)
"""Colour of pixels without an id in the palette."""
STRIP = 32 * HATCH
"""Rows of an overlay that are drawn at a time: bounds the memory, and hatches go on from strip to strip."""

Upsample = Literal["bilinear", "nearest"]


@dataclass(frozen=True)
class GridSegments:
    """Segments of one picture on its patch grid.

    Attributes:
        scores: (Q, h, w) float32, higher is better.
        ids: (Q,) int64, id of each segment, `UNMATCHED` where it has none.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]

    @property
    def soft(self) -> NDArray[np.float32]:
        """Softmax of the scores over segments, (Q, h, w)."""
        powers = np.exp(self.scores - self.scores.max(0))
        shares: NDArray[np.float32] = powers / powers.sum(0)
        return shares

    def labels(self, height: int, width: int, upsample: Upsample) -> NDArray[np.uint8]:
        """Ids (height, width) of every pixel as `pixel_ids` has them, `NO_ID` where there is none."""
        ids = self.pixel_ids(height, width, upsample)
        return np.where(ids == UNMATCHED, NO_ID, ids).astype(np.uint8)

    def pixel_ids(self, height: int, width: int, upsample: Upsample) -> NDArray[np.int64]:
        """Ids (height, width) of every pixel (`patchbank.evaluation.soft.pixel_ids`)."""
        return pixel_ids(self.scores, self.ids, (height, width), upsample)


@dataclass(frozen=True)
class PictureWriter:
    """Writes what belongs to one picture; every file appears whole or not at all.

    Attributes:
        folder: of the outputs.
        naming: names and colours of ids.
        upsample: from the patch grid to pixels.
        soft: whether soft assignments are written.
        run: what tells this run from others, in values of JSON; noted in `legend.json`.
        sources: the file of each name, noted in its outputs.
    """

    folder: Path
    naming: Naming
    upsample: Upsample = "bilinear"
    soft: bool = False
    run: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Path] = field(default_factory=dict)

    def files(self, name: str) -> dict[str, Path]:
        """The output of each kind of picture `name`; a name too long for its suffix is cut (`short_name`)."""
        full = name
        folder, _, last = name.rpartition("/")
        name = f"{folder}/{short_name(last, '.png')}".lstrip("/")
        large = full in self.sources and raster_size(self.sources[full]) is not None
        kinds = {"labels": ".tif" if large else ".png", "overlays": ".png", **({"soft": ".npz"} if self.soft else {})}
        return {kind: self.folder / kind / f"{name}{suffix}" for kind, suffix in kinds.items()}

    def source(self, name: str) -> str | None:
        """What the outputs of picture `name` say of their picture; None where its file is not known."""
        return picture_digest(self.sources[name])[:DIGITS] if name in self.sources else None

    def _about(self, name: str) -> dict[str, str]:
        """What the labels of picture `name` tell of it."""
        if name not in self.sources:
            return {}
        geo = read_geo(self.sources[name])
        file = PurePosixPath(name).with_name(self.sources[name].name)
        return {"Picture": quote(os.fsencode(file)), **({} if geo is None else {"Geo": geo.to_text()})}

    def __call__(self, name: str, image: Image.Image | Raster, segments: GridSegments) -> None:
        """Write the outputs of picture `name`."""
        files, source, size = self.files(name), self.source(name), np.array([image.height, image.width])
        if isinstance(image, Raster):
            image = self._write_raster(name, image, segments)
        labels = segments.labels(image.height, image.width, self.upsample)
        if files["labels"].suffix == ".png":
            picture = Image.fromarray(labels)
            picture.putpalette(self._palette().tobytes())
            with atomic_path(files["labels"]) as temporary:
                picture.save(temporary, pnginfo=png_info(source, **self._about(name)))
        drawn = draw_overlay(np.asarray(image), labels, self.naming.colours)
        with atomic_path(files["overlays"]) as temporary:
            # photographs gain little from more compression
            Image.fromarray(drawn).save(temporary, compress_level=1, pnginfo=png_info(source))
        if self.soft:
            arrays: dict[str, NDArray[Any]] = {
                "scores": segments.scores,
                "soft": segments.soft,
                "ids": segments.ids,
                "size": size,
                **({} if source is None else {"source": np.array(source)}),
            }
            write_npz(files["soft"], arrays)

    def _write_raster(self, name: str, raster: Raster, segments: GridSegments) -> Image.Image:
        """Write the labels of a raster in bands, and return it reduced."""
        size, source = (raster.height, raster.width), self.source(name)
        bands = id_bands(segments.scores, segments.ids, size, self.upsample)
        texts = {**self._about(name), **({} if source is None else {"Source": source})}
        geo = geo_of_text(texts.get("Geo"))
        write_labels(self.files(name)["labels"], bands, size, self._palette(), texts, geo)
        with raster:
            return raster.reduced()

    def legend(self) -> dict[str, Any]:
        """The content of `legend.json`."""
        rows = zip(self.naming.names, self.naming.colours.tolist(), strict=True)
        return {
            "kind": self.naming.kind,
            "source": self.naming.source,
            "variant": self.naming.variant,
            "no_id": NO_ID,
            "ids": [{"id": i, "name": name, "colour": colour} for i, (name, colour) in enumerate(rows)],
            "run": dict(self.run),
        }

    def write_legend(self) -> None:
        """Write `legend.json`, and make the folders of the outputs."""
        for kind in ("labels", "overlays", *(["soft"] if self.soft else [])):
            (self.folder / kind).mkdir(parents=True, exist_ok=True)
        write_json(self.folder / LEGEND, self.legend())

    def _palette(self) -> NDArray[np.uint8]:
        table = np.zeros((MOST + 1, 3), dtype=np.uint8)
        table[: len(self.naming.colours)] = self.naming.colours
        table[NO_ID] = GREY
        return table


def picture_digest(path: Path) -> str:
    """SHA-256 of the bytes of a picture's file, or of its page."""
    file, page = located(path)
    return page_hash(file, page) if page else sha256_file(file)


def draw_overlay(pixels: NDArray[np.uint8], labels: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`patchbank.drawing.overlay.overlay` of a picture of any size, strip by strip.

    Args:
        pixels: (H, W, 3) uint8.
        labels: (H, W) ids, `NO_ID` for none.
        colours: (ids, 3) uint8.
    """
    drawn = np.empty_like(pixels)
    for top in range(0, len(pixels), STRIP):
        rows = slice(top, top + STRIP + 1)  # one more, to see an edge below the strip
        ids = labels[rows].astype(np.int64)
        ids[ids == NO_ID] = UNMATCHED
        drawn[top : top + STRIP] = overlay(pixels[rows], ids, colours)[:STRIP]
    return drawn
