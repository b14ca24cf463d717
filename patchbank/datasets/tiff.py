"""TIFF files that Pillow does not read as they are meant: deep, of floats, of many bands, with overviews.

tifffile decodes them; LZW, JPEG, ZSTD and packed bits need imagecodecs beside it (``pip install 'patchbank[images]'``).
Files of 8 bits with one, three or four bands are left to Pillow, unless bands are named. Its code is part of the record
of banks whose sets have such pictures, as that of `patchbank.datasets.depth`.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets.depth import Deep, OfBands
from patchbank.datasets.directions import Chosen, Directions
from patchbank.datasets.pages import directories
from patchbank.datasets.unusable import DECODE_ERRORS, Unusable

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
GREYS = {tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.MINISWHITE}
NO_DATA = 42113
"""GDAL's tag of the value without data, as text."""
ERRORS = (*DECODE_ERRORS, tifffile.TiffFileError, RuntimeError)
"""What tifffile and its codecs raise on broken bytes."""
WAY = "save it as 16-bit grey or RGB TIFF"


def is_tiff(head: bytes) -> bool:
    """Whether a file that starts so is a TIFF, of the large kind (BigTIFF) too."""
    return head[:4] in MAGIC


def deep_size(file: IO[bytes], bands: Chosen = (), number: int = 0) -> tuple[int, int] | None:
    """Width and height as stored of a TIFF (or a page of it) that is read here, from its header; None for Pillow's.

    Raises:
        Unusable: it is read here, and cannot be.
    """
    found = find_page(file, bands, number)
    return None if found is None else (found.imagewidth, found.imagelength)


def read_deep(file: IO[bytes], bands: Chosen = (), number: int = 0) -> Deep | None:
    """The picture of a TIFF that is read here, as it is stored (its orientation not applied); None for Pillow's.

    Args:
        file: the TIFF.
        bands: those that are taken, see `patchbank.datasets.depth`.
        number: of the page, from 1 on; 0 for a file of one page.

    Raises:
        Unusable: it is read here, and cannot be.
    """
    page = find_page(file, bands, number)
    if page is None:
        return None
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    if page.imagewidth * page.imagelength > limit:
        raise Unusable(f"claims more than {limit // 10**6} million pixels; cut it into tiles")
    try:
        values = page.asarray()
    except ERRORS as error:
        raise Unusable(why_broken(page, error)) from None
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(page.imagelength, page.imagewidth, -1)
    return picked(page, values, bands)


def picked(page: Any, values: NDArray[Any], bands: Chosen) -> Deep:
    """The bands of a page's values (H, W, samples) that are taken, or of some of its rows."""
    told = [] if values.dtype == np.uint8 else [_word(values.dtype)]
    inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
    if isinstance(bands, Directions):
        told.append(f"principal directions of {values.shape[2]} bands")
        return OfBands(values, _valid(page, values), inverted, tuple(told))
    chosen = bands or _default(values.shape[2])
    if values.shape[2] > len(chosen):
        told.append(f"bands {', '.join(map(str, chosen))} of {values.shape[2]}")
    taken = np.ascontiguousarray(values[..., [band - 1 for band in chosen]])
    return Deep(taken, _valid(page, taken), inverted, tuple(told))


def tiff_orientation(file: IO[bytes], number: int = 0) -> int:
    """How a TIFF (or its page `number`) is to be turned, 1 where it says nothing or nonsense."""
    page: Any = _tiff(file).pages[position(file, number) if number else 0]
    tag = page.tags.get(274)
    return tag.value if tag is not None and isinstance(tag.value, int) else 1


def _tiff(file: IO[bytes]) -> tifffile.TiffFile:
    file.seek(0)
    return tifffile.TiffFile(file)


def position(file: IO[bytes], number: int) -> int:
    """Where page `number` (from 1 on) stands in the chain of directories; `Unusable` where there is no such page."""
    found = directories(file)
    if number > len(found):
        raise Unusable(f"is page {number} of a file that has {len(found)}")
    return found[number - 1]


def find_page(file: IO[bytes], bands: Chosen, number: int = 0) -> Any:
    """The one page of a TIFF, or page `number`, checked by its header; None for one that is left to Pillow."""
    if number:
        page: Any = _tiff(file).pages[position(file, number)]
        if _left_to_pillow(page, bands):
            return None
        check_page(page, bands)
        return page
    try:
        pages = list(_tiff(file).pages)
    except ERRORS:  # a header that tifffile does not understand: Pillow says what is wrong with it
        return None
    full = [page for page in pages if isinstance(page, tifffile.TiffPage) and not page.is_reduced and not page.is_mask]
    if not full:
        return None
    page = full[0]
    plain = _left_to_pillow(page, bands)
    if page.dtype is None or page.bitspersample == 1 or (plain and len(pages) == 1):
        return None
    if len(full) > 1:
        raise Unusable(f"holds {len(full)} frames; save the one that is meant as its own file")
    if plain and page.photometric not in (*GREYS, tifffile.PHOTOMETRIC.RGB):
        raise Unusable("has overviews beside a picture that is neither grey nor RGB; save it without them")
    check_page(page, bands)
    return page


def _left_to_pillow(page: Any, bands: Chosen) -> bool:
    """Whether a page is one of 8 bits as Pillow reads them; it knows no BigTIFF of the other byte order."""
    plain = page.dtype == np.uint8 and page.bitspersample in (1, 2, 4, 8) and page.samplesperpixel in (1, 3, 4)
    unknown = page.parent.is_bigtiff and page.parent.byteorder == ">"
    return page.dtype is None or page.bitspersample == 1 or (plain and not bands and not unknown)


def check_page(page: Any, bands: Chosen, coloured: bool = False) -> None:
    """Raise `Unusable` for a page that is not read here; `coloured`: its codec makes RGB of YCbCr."""
    if not page.imagewidth or not page.imagelength:
        raise Unusable("has no pixels")
    if page.dtype is None or page.dtype.kind not in "uif":
        name = f"{page.bitspersample} bits" if page.dtype is None else page.dtype.name
        raise Unusable(f"has values of type {name}, which are no picture; {WAY}")
    if page.imagedepth > 1:
        raise Unusable(f"is a volume of {page.imagedepth} layers; save the one that is meant as its own file")
    known = {*GREYS, tifffile.PHOTOMETRIC.RGB, *([tifffile.PHOTOMETRIC.YCBCR] if coloured else [])}
    if page.photometric not in known:
        name = getattr(page.photometric, "name", page.photometric)
        raise Unusable(f"has the colour model {name} in {page.bitspersample} bits, which is not read; {WAY}")
    if isinstance(bands, Directions):
        bands.check(page.dtype, page.samplesperpixel)
    elif bands and max(bands) > page.samplesperpixel:
        raise Unusable(f"has {page.samplesperpixel} bands, and `bands` names band {max(bands)}")


def _default(count: int) -> tuple[int, ...]:
    return (1, 2, 3) if count >= 3 else (1,)


def _word(dtype: np.dtype[Any]) -> str:
    kind = {"u": "bit", "i": "bit signed", "f": "bit floating-point"}[dtype.kind]
    return f"{8 * dtype.itemsize}-{kind}"


def _valid(page: Any, values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Pixels with data: finite, and not the value that GDAL's tag names; None where all are."""
    valid = np.isfinite(values).all(-1) if values.dtype.kind == "f" else np.ones(values.shape[:2], dtype=np.bool_)
    if NO_DATA in page.tags:
        try:
            none = float(str(page.tags[NO_DATA].value).strip("\0 "))
        except ValueError:  # a text that is no number names no value
            none = np.nan
        valid &= ~(values == none).all(-1)
    return None if valid.all() else valid


def why_broken(page: Any, error: Exception) -> str:
    """Why the data of a page cannot be decoded, in words that follow the file's name."""
    text = " ".join(str(error).split())
    if "imagecodecs" in text:
        name = getattr(page.compression, "name", page.compression)
        return f"is compressed by {name}, which needs imagecodecs: pip install 'patchbank[images]', or save it without"
    return f"is truncated or damaged ({text or type(error).__name__})"
