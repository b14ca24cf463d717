"""Pictures too large to be decoded whole: TIFFs that are read in bands of rows.

A TIFF of more than `LARGE` pixels, which Pillow takes for an attack, or of more bytes than are read whole, is a raster.
A band of rows is in memory at a time, in 8-bit RGB as `patchbank.datasets.images` makes it of smaller pictures. Tiles
and strips are read where they lie; what is stored in one compressed piece is refused. Where a whole picture is asked
for (banks, pages), it is one of at most `REDUCED` pixels a side. A tile (`patchbank.datasets.tiles`) is a part of a
TIFF of any size; what is read of the file are the stored pieces that it lies in.
"""

from __future__ import annotations

import math
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets.depth import SAMPLED, Deep, Treatment
from patchbank.datasets.directions import Chosen
from patchbank.datasets.pages import directories, located
from patchbank.datasets.reading import MAX_BYTES, opened_at_once, why_not_read
from patchbank.datasets.rgb import to_rgb
from patchbank.datasets.tiff import ERRORS, check_page, is_tiff, picked, position, why_broken
from patchbank.datasets.tiles import tile_of
from patchbank.datasets.unusable import Unusable

LARGE = 2 * 89_478_485
"""Pixels above which a TIFF is a raster; Pillow's own limit."""
REDUCED = 4096
"""Longer side in pixels of a raster that is shown as a whole."""
PIECE = 1 << 29
"""Bytes of the largest tile or strip that is decoded."""
BAND = 1 << 26
"""Bytes of a band of rows, about; never less than one row of tiles."""
TILED = "`gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER IN OUT` makes it readable"
_JPEG, _SEPARATE, _ORIENTATION = 7, 2, 274
_TOLD = (262, 277, 320, 338, 339, 42113)
"""Tags that say how values are to be read."""

STORED = Treatment()
Bands = NDArray[np.uint8]


def raster_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height of a raster; None for every other picture, tiles among them, and for what is no TIFF."""
    size = None if is_tile(path) else tiff_size(path)
    if size is None:
        return None
    file, number = located(path)
    whole = number == 0 and file.stat().st_size > MAX_BYTES
    return size if size[0] * size[1] > LARGE or whole else None


def is_tile(path: str | Path) -> bool:
    """Whether a picture is a tile of a raster."""
    return tile_of(Path(path))[1] is not None


def tiff_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height as stored of a TIFF or page; None for what is none, or has a broken header."""
    file, number = located(path)
    try:
        with opened_at_once(file) as (opened, state):
            if not stat.S_ISREG(state.st_mode) or not is_tiff(opened.read(4)):
                return None
            found = directories(opened) if number else [0]
            opened.seek(0)
            page: Any = tifffile.TiffFile(opened).pages[found[number - 1]]
            return int(page.imagewidth), int(page.imagelength)
    except ERRORS:  # what is wrong with it, its decoding says
        return None


class Raster:
    """An open raster, or a tile of one.

    Args:
        path: the file or page, or a tile's name.
        treatment: of deep values.
        indexed: it is a label map, of which `values` are read alone.

    Raises:
        Unusable: it cannot be read in bands.
    """

    def __init__(self, path: str | Path, treatment: Treatment = STORED, indexed: bool = False) -> None:
        file, number = located(path)
        try:
            self._file: IO[bytes] = file.open("rb")
        except OSError as error:
            raise Unusable(why_not_read(path, error)) from None
        try:
            tile = tile_of(Path(path))[1]
            self._page = _page(self._file, number, treatment.bands, indexed, tile is not None)
        except BaseException:
            self._file.close()
            raise
        self._given = treatment
        self._kept: dict[tuple[int, int], NDArray[Any]] = {}
        self._tile = tile
        stored = int(self._page.imagewidth), int(self._page.imagelength)
        self._left, self._top, right, bottom = (0, 0, *stored) if self._tile is None else self._tile.box(stored)
        self.width, self.height = right - self._left, bottom - self._top

    def __enter__(self) -> Raster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    mode = "RGB"

    def tobytes(self) -> bytes:
        """The pixels of the raster reduced."""
        return self.reduced().tobytes()

    @cached_property
    def step(self) -> int:
        """Rows that are worth reading at a time."""
        page = self._page
        rows: int = max(1, BAND // (self.width * page.samplesperpixel * page.dtype.itemsize))
        length: int = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        return rows if self._direct or length > self.height // 2 else max(1, rows // length) * length

    @cached_property
    def deep(self) -> Deep | None:
        """An evenly spread sample of the values, where they are to be scaled; None of 8 bits that stay as they are."""
        page = self._page
        if page.dtype == np.uint8 and not self._given.touches_bytes:
            return None
        every = max(1, math.isqrt(self.width * self.height // SAMPLED))
        parts = [self.values(top, stop)[-top % every :: every, ::every] for top, stop in self._bands(self.step)]
        return self._deep(np.concatenate([part for part in parts if len(part)]))

    @cached_property
    def treatment(self) -> Treatment:
        """The given one, with what this raster takes of its own where the set has none."""
        return self._given if self.deep is None else self.deep.settled(self._given)

    @property
    def meaning(self) -> str:
        """How stored values are to be read: their type and shape, colours, bands beside them, and what is no data."""
        page = self._page
        tags = [_written(page.tags[code].value) if code in page.tags else None for code in _TOLD]
        return f"{page.dtype} {self.size} {tags}"

    @property
    def told(self) -> tuple[str, ...]:
        """What is done to it, for people."""
        scaled = () if self.deep is None else (*self.deep.told, f"scaled by {self._given.scale or 'percentile'}")
        return (*scaled, "read in parts" if self._tile is None else "cut into tiles")

    def rows(self, top: int, stop: int) -> Bands:
        """Rows `top` to `stop` in RGB, (stop - top, W, 3)."""
        page, values = self._page, self.values(top, stop)
        if self.deep is not None:
            return self._deep(values).to_bytes(self.treatment)
        return _plain_rgb(page, values)

    def _deep(self, values: NDArray[Any]) -> Deep:
        """Values (rows, W, samples) before they are scaled; what Pillow reads is RGB already, as of whole files."""
        page, bands = self._page, self._given.bands
        return Deep(_plain_rgb(page, values)) if _for_pillow(page) and not bands else picked(page, values, bands)

    def resized(self, size: tuple[int, int], top: int, stop: int) -> Bands:
        """Rows `top` to `stop` of the picture at another size (width, height), by Pillow's bilinear rule."""
        if size == self.size:
            return self.rows(top, stop)
        scale = self.height / size[1]
        around = max(scale, 1.0) + 1
        first = max(0, math.floor(top * scale - around))
        last = min(self.height, math.ceil(stop * scale + around))
        box = (0, top * scale - first, self.width, min(stop * scale - first, last - first))
        band = Image.fromarray(self.rows(first, last))
        return np.asarray(band.resize((size[0], stop - top), Image.Resampling.BILINEAR, box=box))

    def resize(self, size: tuple[int, int], resample: int = Image.Resampling.BILINEAR) -> Image.Image:
        """The whole picture at a size (width, height) that fits the memory, as `Image.resize` makes it."""
        if resample != Image.Resampling.BILINEAR:
            raise ValueError(f"a raster is resized by the bilinear rule alone, not by {resample}.")
        rows = max(1, self.step * size[1] // self.height)
        starts = range(0, size[1], rows)
        return Image.fromarray(np.concatenate([self.resized(size, y, min(y + rows, size[1])) for y in starts]))

    def reduced(self) -> Image.Image:
        """The whole picture, `REDUCED` pixels at its longer side at most."""
        share = min(1.0, REDUCED / max(self.size))
        return self.resize((max(1, round(self.width * share)), max(1, round(self.height * share))))

    def _bands(self, rows: int) -> Iterator[tuple[int, int]]:
        for top in range(0, self.height, rows):
            yield top, min(top + rows, self.height)

    @cached_property
    def _direct(self) -> bool:
        """Whether rows lie in the file as they are."""
        page = self._page
        whole = page.bitspersample == 8 * page.dtype.itemsize and page.fillorder == 1
        return bool(not page.is_tiled and page.compression == 1 and page.predictor == 1 and whole)

    def values(self, top: int, stop: int) -> NDArray[Any]:
        """Rows (stop - top, W, samples) as stored."""
        page, top, stop = self._page, self._top + top, self._top + stop
        length = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        planes = page.samplesperpixel if page.planarconfig == _SEPARATE else 1
        values = np.empty((stop - top, self.width, page.samplesperpixel), page.dtype)
        used = set()
        for plane in range(planes):
            samples = slice(plane, plane + 1) if planes > 1 else slice(None)
            for row in range(top // length, -(-stop // length)):
                start, end = max(top, row * length), min(stop, (row + 1) * length, page.imagelength)
                part = slice(start - row * length, end - row * length)
                used.add((plane, row))
                values[start - top : end - top, :, samples] = self._strip(plane, row, length, part)
        self._kept = {key: rows for key, rows in self._kept.items() if key in used}
        return values

    def indices(self) -> NDArray[Any]:
        """Class or instance ids (H, W) of a mask; `Unusable` for colours and for lossy compression.

        They are as stored, but that of 8 bits whose white is 0 is inverted, as Pillow does it.
        """
        page = self._page
        if page.compression == _JPEG:
            raise Unusable("is stored as JPEG, whose compression changes labels; save masks without it")
        if page.samplesperpixel != 1 or page.dtype.kind not in "iu":
            kind = "floating-point" if page.dtype.kind == "f" else f"{page.samplesperpixel} bands"
            raise Unusable(f"is not an indexed mask ({kind}); save class ids as whole numbers in one band")
        values = self.values(0, self.height)[..., 0]
        inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.dtype == np.uint8
        return 255 - values if inverted else values

    def _strip(self, plane: int, row: int, length: int, part: slice) -> NDArray[Any]:
        """Some rows of a strip, or of a row of tiles, (rows, W, samples of the plane); no data where none is stored."""
        page = self._page
        across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        first = (plane * -(-page.imagelength // length) + row) * across
        samples = 1 if page.planarconfig == _SEPARATE else page.samplesperpixel
        if self._direct and page.databytecounts[first]:
            return self._stored(page.dataoffsets[first], part, samples)
        if (plane, row) not in self._kept:
            shape = (min(length, page.imagelength - row * length), self.width, samples)
            strip = np.full(shape, page.nodata, page.dtype)
            right, wide = self._left + self.width, page.tilewidth if page.is_tiled else page.imagewidth
            for column in range(self._left // wide, -(-right // wide)):
                piece = self._piece(first + column)
                if piece is not None:
                    start, end = max(self._left, column * wide), min(right, column * wide + piece.shape[1])
                    cut = piece[: len(strip), start - column * wide : end - column * wide]
                    strip[: len(cut), start - self._left : end - self._left] = cut
            self._kept[plane, row] = strip
        return self._kept[plane, row][part]

    def _stored(self, offset: int, part: slice, samples: int) -> NDArray[Any]:
        """Some rows of a strip that lie in the file as they are."""
        page = self._page
        pixel = samples * page.dtype.itemsize
        line, wanted, rows = page.imagewidth * pixel, self.width * pixel, part.stop - part.start
        start = offset + part.start * line + self._left * pixel
        if wanted == line:
            self._file.seek(start)
            data = self._file.read(rows * line)
        else:
            data = b"".join(self._file.read(wanted) for row in range(rows) if self._file.seek(start + row * line))
        if len(data) < rows * wanted:
            raise Unusable("is truncated or damaged")
        stored = np.frombuffer(data, page.dtype.newbyteorder(page.parent.byteorder))
        return stored.reshape(-1, self.width, samples)

    def _piece(self, index: int) -> NDArray[Any] | None:
        """One tile or strip (rows, columns, samples); None for one that is not stored."""
        page = self._page
        if not page.databytecounts[index]:
            return None
        self._file.seek(page.dataoffsets[index])
        data = self._file.read(page.databytecounts[index])
        tables = {"jpegtables": page.jpegtables} if page.compression == _JPEG else {}
        try:
            decoded = page.decode(data, index, **tables)[0]
        except ERRORS as error:
            raise Unusable(why_broken(page, error)) from None
        return None if decoded is None else np.asarray(decoded)[0]


def _page(file: IO[bytes], number: int, bands: Chosen, indexed: bool, tile: bool) -> Any:
    """The checked page of a raster, or of a tile."""
    found = position(file, number) if number else 0
    file.seek(0)
    page: Any = tifffile.TiffFile(file).pages[found]
    # read whole it is more than a raster can be
    way = ", or leave `tiles` out" if tile and page.imagewidth * page.imagelength <= LARGE else ""
    if page.dtype is None and indexed:
        raise Unusable(f"has values of {page.bitspersample} bits, which are no class ids")
    if page.dtype is not None and page.bitspersample < 8:
        bits = "one bit" if page.bitspersample == 1 else f"{page.bitspersample} bits"
        raise Unusable(f"has {bits} a pixel, which is not read in parts; save it with 8 bits{way}")
    if not indexed:
        try:
            check_page(page, bands, coloured=page.compression == _JPEG)
        except Unusable as reason:
            raise Unusable(f"{reason}{way if _for_pillow(page) and not bands else ''}") from None
    turned = page.tags.get(_ORIENTATION)
    if turned is not None and turned.value != 1:
        raise Unusable(f"is turned by its orientation, which is not done to parts of a picture; save it upright{way}")
    plain = not page.is_tiled and page.compression == 1 and page.predictor == 1
    if not plain and math.prod(page.chunks) * page.dtype.itemsize > PIECE:
        raise Unusable(f"is stored in pieces that are too large to be read one by one; {TILED}{way}")
    return page


def _for_pillow(page: Any) -> bool:
    """Whether a file of this page alone is one of 8 bits that Pillow reads."""
    return bool(page.dtype == np.uint8 and page.samplesperpixel in (1, 3, 4))


def _plain_rgb(page: Any, values: NDArray[Any]) -> Bands:
    """Values of 8 bits (rows, W, samples) in RGB."""
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        values = 255 - values
    if values.shape[2] not in (3, 4):
        return np.ascontiguousarray(np.broadcast_to(values[..., :1], (*values.shape[:2], 3)))
    return np.asarray(to_rgb(Image.fromarray(np.ascontiguousarray(values)), "TIFF")[0])


def _written(value: Any) -> Any:
    """A tag's value in numbers and text, whatever names a library has for them."""
    if isinstance(value, tuple | list):
        return [_written(one) for one in value]
    return int(value) if isinstance(value, int) else str(value)
