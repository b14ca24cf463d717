"""Reading images, masks and instance maps from files, the same way wherever that happens.

Conversions that lose nothing one would miss are done silently (the scan counts them): greyscale, palette and CMYK to
RGB, transparency laid over white, EXIF orientation applied. Deep, floating-point and many-banded pictures become 8-bit
RGB by a `patchbank.datasets.depth.Treatment`. Anything else is refused with the reason. Every file is turned as its own
EXIF says: a mask belongs to the image as people see it, so that the mask of a rotated photograph has the rotated size.

A MATLAB file (IIC's Potsdam tiles) is read as the one array that it holds: (H, W) values or (H, W, 3 or more) RGB.

Masks are read as indices: palette, 1- to 16-bit greyscale PNG (or TIFF, BMP, GIF). Pillow stretches 2- and 4-bit
greyscale to 0-255; the stretch is undone. Grey that was saved as RGB is read; colours and lossy formats are refused.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from patchbank.datasets.depth import Deep, OfBands, Treatment
from patchbank.datasets.dicom import OfDicom, frame_size, is_dicom, read_frame
from patchbank.datasets.directions import numbered
from patchbank.datasets.formats import HEAD, unread_format
from patchbank.datasets.labels import apply_lut, instance_ids
from patchbank.datasets.listing import SOFTWARE
from patchbank.datasets.pages import located
from patchbank.datasets.raster import Raster, is_tile, raster_size
from patchbank.datasets.reading import check_state, opened, read_bytes, why_not_read
from patchbank.datasets.rgb import GREY16, TURNS, Conversion, orientation, to_rgb, upright
from patchbank.datasets.tiff import deep_size, is_tiff, position, read_deep, tiff_orientation
from patchbank.datasets.unusable import DECODE_ERRORS, Unusable, naming
from patchbank.errors import UserError

_WORDS = {"1": "greyscale", "L": "greyscale", "P": "palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "HSV": "HSV"}
"""What a conversion of a plain mode is called."""
_STRETCH = {2: 85, 4: 17}  # bits of a grey value, and by what Pillow multiplies it
_BITS, _KIND, _UNSIGNED = 258, 339, 1  # tags of a TIFF: bits of a value, its kind; the kind where none is said
DEEP = ("16-bit greyscale", "16-bit colour")
"""Names of the conversions from 16 bits to 8 by the whole range of 16 bits."""
PLAIN = Treatment()
"""Of a picture that stands alone."""
_LOSSY, _LOSSY_IN_TIFF = {"JPEG", "MPO", "JPEG2000", "WEBP", "AVIF"}, {"jpeg", "tiff_jpeg", "webp"}


@dataclass(frozen=True)
class Decoded:
    """An image in RGB, the names of the conversions that were needed, what was its transparency (mode L), and what it
    was before it had 8 bits (None where nothing but that was needed)."""

    image: Image.Image
    conversions: tuple[str, ...]
    alpha: Image.Image | None = None
    deep: Deep | None = None


def load_image(path: str | Path, treatment: Treatment = PLAIN) -> Image.Image:
    """The image at `path` in RGB, as people see it (EXIF orientation applied); `UserError` names the file."""
    return decode_file(path, treatment).image


def decode_file(path: str | Path, treatment: Treatment = PLAIN) -> Decoded:
    """`decode_image` of the file at `path`; `UserError` names the file."""
    with naming(path):
        if is_tile(path) or raster_size(path) is not None:
            return decode_raster(path, treatment)
        file, page = located(path)
        if not page:
            return decode_image(read_bytes(file), treatment)
        with opened(file) as pages:
            return decode_open(pages, treatment, page)


def decode_raster(path: str | Path, treatment: Treatment = PLAIN) -> Decoded:
    """A tile, or a raster reduced to what fits the memory; `Unusable` where it cannot be read in parts."""
    with Raster(path, treatment) as raster:
        return Decoded(raster.reduced(), raster.told, None, raster.deep)


def open_raster(path: str | Path, treatment: Treatment = PLAIN) -> Raster:
    """The raster at `path`, open; `UserError` names one that cannot be read in parts."""
    with naming(path):
        return Raster(path, treatment)


def load_labels(path: str | Path, lut: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
    """Class ids of a mask file.

    Args:
        path: mask file.
        lut: look-up table as `patchbank.datasets.labels.build_lut` makes it.

    Returns:
        (H, W) uint8, 255 = ignore.

    Raises:
        UserError: an unreadable file, a colour mask, or a value that the map does not know.
    """
    try:
        return apply_lut(read_indices(path), lut)
    except (Unusable, ValueError) as reason:
        raise UserError(f"{path}: {reason}.") from None


def load_raw(path: str | Path) -> NDArray[Any]:
    """Raw values of a mask or instance map, (H, W) of an integer type; `UserError` names an unusable file."""
    with naming(path):
        return read_indices(path)


def load_instances(path: str | Path) -> NDArray[np.int32]:
    """Instance ids of an instance map, (H, W) int32, 0 = background; `UserError` names an unusable file."""
    with naming(path):
        return instance_ids(read_indices(path))


def read_indices(path: str | Path) -> NDArray[Any]:
    """`decode_indices` of the file, page or tile at `path`."""
    if is_tile(path):
        with Raster(path, indexed=True) as raster:
            return raster.indices()
    file, page = located(path)
    if not page:
        return decode_indices(read_bytes(file))
    with opened(file) as pages:
        return _indices(pages, page)


def read_size(path: str | Path, indexed: bool, treatment: Treatment = PLAIN) -> tuple[int, int]:
    """Width and height of a picture (or of a mask, with `indexed`), EXIF orientation applied, from its header alone.

    Everything that a header tells is checked as `decode_image` and `decode_indices` do; `Unusable` has the reason.
    """
    try:
        if is_tile(path) or (not indexed and raster_size(path) is not None):
            with Raster(path, treatment, indexed) as raster:
                return raster.size
        path, page = located(path)
        check_state(path.stat())
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not indexed and (size := _deep_size(file, treatment, page)) is not None:
                return size
            image = _open(file, page, indexed)
            width, height = image.size
            if isinstance(image, TiffImageFile):  # its size may be that after turning, its tags are as stored
                width, height = image.tag_v2[256], image.tag_v2[257]
            # asking a PNG for an EXIF block that is not there yet decodes all of it
            told = image.format != "PNG" or "exif" in image.info
            return (height, width) if told and orientation(image) in (5, 6, 7, 8) else (width, height)
    except (OSError, ValueError) as error:
        raise Unusable(why_not_read(path, error)) from None


def _deep_size(file: IO[bytes], treatment: Treatment, page: int) -> tuple[int, int] | None:
    """The size of a TIFF that tifffile reads, turned by its orientation; None for any other file, at its beginning."""
    head = file.read(HEAD)
    file.seek(0)
    if is_dicom(head):
        numbered(treatment.bands)
        return frame_size(file, page)
    size = deep_size(file, treatment.bands, page) if is_tiff(head) else None
    file.seek(0)
    if size is None:
        numbered(treatment.bands)
        return None
    turned = tiff_orientation(file, page) in (5, 6, 7, 8)
    return size[::-1] if turned else size


def decode_image(data: bytes, treatment: Treatment = PLAIN) -> Decoded:
    """Decode an image file's bytes to 8-bit RGB; `Unusable` with the reason when that is impossible or unsafe."""
    return decode_open(io.BytesIO(data), treatment)


def decode_open(file: IO[bytes], treatment: Treatment = PLAIN, page: int = 0) -> Decoded:
    """`decode_image` of an open file, or of one of its pages (from 1 on)."""
    head = file.read(HEAD)
    file.seek(0)
    if is_dicom(head):
        numbered(treatment.bands)
        return _treated(read_frame(file, page), 1, treatment)
    deep = read_deep(file, treatment.bands, page) if is_tiff(head) else None
    if deep is not None:
        return _treated(deep, tiff_orientation(file, page), treatment)
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _load(file, page)
        bands = numbered(treatment.bands)
        if image.info.get("Software", image.info.get("comment")) in (SOFTWARE, SOFTWARE.encode()):
            raise Unusable("is a picture that patchbank drew, which is no input; name or keep it elsewhere")
        done: list[str] = []
        if _png_depth(head) == 16 and image.mode in ("RGB", "RGBA"):
            done.append(DEEP[1])
        turned, turn = upright(image)
        if turn is None:
            done.append("unreadable EXIF left out")
        elif turn in TURNS:
            done.append("EXIF orientation")
        if treatment.scale != "full" and (turned.mode in GREY16 or turned.mode == "I"):
            return _treated(_deep_of(turned, image.format, done), 1, treatment)
        try:
            rgb, conversion = to_rgb(turned, image.format)
        except DECODE_ERRORS as error:
            raise Unusable(f"cannot be converted from {image.mode} to RGB ({_reason(error)})") from None
    alpha = None
    match conversion:
        case Conversion.OVER_WHITE:
            done.append("transparency over white")
            alpha = turned.convert("RGBA").getchannel("A")
        case Conversion.GREY16:
            done.append(DEEP[0])
        case Conversion.PLAIN:
            done.append(_WORDS[turned.mode])
    if treatment.touches_bytes:
        return _treated(_picked(rgb, bands, done), 1, treatment)
    return Decoded(rgb, tuple(done), alpha)


def _deep_of(image: Image.Image, file_format: str | None, done: Sequence[str]) -> Deep:
    """An opened grey picture of more than 8 bits; PNG and PPM hold 16 of them, whatever Pillow calls it."""
    values = np.asarray(image)
    sixteen = image.mode in GREY16 or file_format in ("PNG", "PPM")
    return Deep((values.astype(np.uint16) if sixteen else values)[..., None], None, False, (*done, "16-bit"))


def _picked(image: Image.Image, bands: Sequence[int], done: Sequence[str]) -> Deep:
    """An RGB picture of 8 bits whose values are scaled, or bands chosen."""
    if max(bands, default=1) > 3:
        raise Unusable(f"has 3 bands, and `bands` names band {max(bands)}")
    values = np.asarray(image)
    return Deep(values[..., [band - 1 for band in bands]] if bands else values, None, False, tuple(done))


def _treated(deep: Deep, orientation: int, treatment: Treatment) -> Decoded:
    """A deep picture in 8-bit RGB, turned upright."""
    image = Image.fromarray(deep.to_bytes(treatment))
    own = treatment.scale is None and isinstance(deep, OfDicom) and deep.window is not None
    plain = deep.values.dtype == np.uint8 and not isinstance(deep, OfBands)
    how = "the file's window" if own else treatment.scale or ("" if plain else "percentile")
    told = [*deep.told, *([f"scaled by {how}"] if how else [])]
    if orientation in TURNS:
        image = image.transpose(TURNS[orientation])
        told.append("EXIF orientation")
    return Decoded(image, tuple(told), None, deep)


def decode_indices(data: bytes) -> NDArray[Any]:
    """Decode a mask or instance map to its raw values, (H, W) of an integer type; `Unusable` with the reason."""
    return _indices(io.BytesIO(data), 0)


def _indices(file: IO[bytes], page: int) -> NDArray[Any]:
    depth = _png_depth(file.read(HEAD))
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _load(file, page, indexed=True)
        values = np.asarray(upright(image)[0])
    if image.mode == "RGB":
        values = _one_channel(values, depth)
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    if isinstance(image, TiffImageFile):
        depth = image.tag_v2.get(_BITS, (1,))[0]
        if image.mode == "I" and image.tag_v2.get(_KIND, (_UNSIGNED,))[0] == _UNSIGNED:
            values = values.view(np.uint32)  # Pillow's integers are signed
    if image.mode == "L" and depth in _STRETCH:
        return values // np.uint8(_STRETCH[depth])
    return values


def _open(file: IO[bytes], page: int = 0, indexed: bool = False) -> Image.Image:
    """A Pillow image of which only the header is read, of one frame or at a page (from 1 on); a mask if `indexed`."""
    try:
        where = position(file, page) if page else 0
        file.seek(0)
        image = Image.open(file)
        image.seek(where)
        # A multi-picture JPEG of a phone holds the photograph first and previews after it; other formats a sequence.
        frames = getattr(image, "n_frames", 1) if image.format != "MPO" and not page else 1
    except UnidentifiedImageError:
        file.seek(0)
        if unread := unread_format(file.read(HEAD)):
            raise Unusable(f"is a {unread} file, which is not read; save it as PNG or JPEG") from None
        raise Unusable("is not an image that Pillow knows, or its header is broken") from None
    except Image.DecompressionBombError:
        limit, saved = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6, "save it as tiled TIFF, which is read in parts"
        way = "set `tiles`, which reads picture and mask of a TIFF in parts" if indexed else f"cut it, or {saved}"
        raise Unusable(f"claims more than {limit} million pixels; {way}") from None
    except DECODE_ERRORS as error:
        raise Unusable(f"has a broken header ({_reason(error)})") from None
    if frames > 1:
        raise Unusable(f"holds {frames} frames; save the one that is meant as its own file")
    if indexed:
        _check_indexed(image)
    return image


def _load(file: IO[bytes], page: int, indexed: bool = False) -> Image.Image:
    """A fully decoded Pillow image (lazy decoding would raise later, far from the file's name)."""
    image = _open(file, page, indexed)
    try:
        image.load()
    except DECODE_ERRORS as error:
        raise Unusable(f"is truncated or damaged ({_reason(error)})") from None
    return image


def _check_indexed(image: Image.Image) -> None:
    """`Unusable` for a mask of a format or mode that does not hold indices."""
    if image.format in _LOSSY:
        raise Unusable(f"is a {image.format} file, whose compression changes labels; masks must be PNG")
    if image.format == "TIFF" and (codec := image.info.get("compression")) in _LOSSY_IN_TIFF:
        raise Unusable(f"is stored as {codec}, whose compression changes labels; save masks without it")
    if image.mode not in ("1", "L", "P", "I", "RGB") and image.mode not in GREY16:
        raise Unusable(_not_indexed(image.mode))


def _one_channel(values: NDArray[Any], depth: int) -> NDArray[Any]:
    """(H, W) of a mask (H, W, 3) whose channels agree, as grey that was saved as RGB; `Unusable` for colours."""
    # of 16 bits a channel Pillow keeps 8, which is no index any more
    if depth == 16 or (values != values[..., :1]).any():
        raise Unusable(_not_indexed("RGB"))
    return values[..., 0]


def _not_indexed(mode: str) -> str:
    return (
        f"is not an indexed mask (colour mode {mode}); save class ids as palette or grey PNG "
        "(docs/input_files.md shows how, under 'Colour masks')"
    )


def _png_depth(data: bytes) -> int:
    """Bits of a value in a PNG, 0 for other formats: Pillow's modes do not tell them."""
    return data[24] if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and len(data) > 25 else 0


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
