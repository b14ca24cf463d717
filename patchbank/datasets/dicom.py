"""DICOM files: one frame as a deep picture, with the window that the file asks for (needs ``patchbank[dicom]``).

Stored values become those that they mean (rescale slope and intercept: Hounsfield units of a CT). Where no scale is
configured, black and white are the ends of the file's window (PS3.3, C.11.2.1.2), or, in a file without one, found as
those of other deep pictures. MONOCHROME1 is inverted, padding counts nowhere, colours become RGB.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.depth import Deep, Range, Treatment
from patchbank.datasets.unusable import DECODE_ERRORS, Unusable

PREAMBLE, MAGIC = 128, b"DICM"
MARK = " dicom"
"""End of the kind of these pictures."""
GREYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
_SHAPING = ("Rows", "Columns", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept", "WindowCenter")


@dataclass(frozen=True, eq=False)
class OfDicom(Deep):
    """A frame before it has 8 bits; `window` is black and white as the file says, None where it does not."""

    window: Range | None = None

    @property
    def kind(self) -> str:
        """As of other deep pictures, and that it is of a DICOM file."""
        return super().kind + MARK

    def to_bytes(self, treatment: Treatment) -> NDArray[np.uint8]:
        """(H, W, 3) uint8; by the file's window where nothing is configured."""
        own = self.window is not None and treatment.scale is None
        return super().to_bytes(Treatment("window", window=self.window) if own else treatment)


def is_dicom(head: bytes) -> bool:
    """Whether a file that starts so is a DICOM file."""
    return head[PREAMBLE : PREAMBLE + 4] == MAGIC


def frame_count(file: IO[bytes]) -> int:
    """How many frames a DICOM file holds; 1 where it is broken or cannot be read here."""
    try:
        return int(_header(file).get("NumberOfFrames") or 1)
    except (Unusable, ValueError, TypeError):  # what is wrong with it, its decoding says
        return 1


def frame_size(file: IO[bytes], number: int) -> tuple[int, int]:
    """Width and height of a frame, from the header; `Unusable` for a file that holds no picture."""
    header = _checked(file, number)
    return int(header.Columns), int(header.Rows)


def read_frame(file: IO[bytes], number: int) -> OfDicom:
    """A frame (from 1 on; 0 for a file of one frame); `Unusable` where it cannot be read."""
    header = _checked(file, number)
    stored = _pixels(file, header, number)
    grey = header.PhotometricInterpretation in GREYS
    if not grey:
        return OfDicom(stored if stored.ndim == 3 else stored[..., None], None, False, ("DICOM",))
    padding = header.get("PixelPaddingValue")
    valid = None if padding is None or not (stored == padding).any() else stored != padding
    slope, intercept = float(header.get("RescaleSlope", 1)), float(header.get("RescaleIntercept", 0))
    whole = slope == 1 and intercept.is_integer()
    values = stored.astype(np.int32) + int(intercept) if whole else stored.astype(np.float32) * slope + intercept
    values = stored if whole and not intercept else values
    inverted = header.PhotometricInterpretation == "MONOCHROME1"
    return OfDicom(values[..., None], valid, inverted, ("DICOM",), _window(header))


def frame_hash(path: Path, number: int, before: bytes) -> str:
    """SHA-256 over `before`, what of the header shapes the picture, and the frame's values."""
    with path.open("rb") as file:
        header = _checked(file, number)
        said = [str(header.get(name)) for name in (*_SHAPING, "WindowWidth", "PixelPaddingValue")]
        stored = np.ascontiguousarray(_pixels(file, header, number))
    return hashlib.sha256(before + f"{said} {stored.dtype} {stored.shape}".encode() + stored.tobytes()).hexdigest()


def _header(file: IO[bytes]) -> Any:
    """All of a file but its pixels."""
    try:
        import pydicom
    except ImportError:
        raise Unusable("is a DICOM file, which needs pydicom: pip install 'patchbank[dicom]'") from None
    file.seek(0)
    try:
        return pydicom.dcmread(file, stop_before_pixels=True)
    except (*DECODE_ERRORS, AttributeError, pydicom.errors.InvalidDicomError) as error:
        raise Unusable(f"has a broken header ({_reason(error)})") from None


def _checked(file: IO[bytes], number: int) -> Any:
    header = _header(file)
    missing = [name for name in ("Rows", "Columns", "PhotometricInterpretation", "BitsAllocated") if name not in header]
    if missing:
        raise Unusable(f"is a DICOM file without a picture (no {missing[0]})")
    if header.PhotometricInterpretation not in (*GREYS, *COLOURS):
        raise Unusable(f"has the colour model {header.PhotometricInterpretation}, which is not read")
    frames = int(header.get("NumberOfFrames") or 1)
    if max(number, 1) > frames:
        raise Unusable(f"is frame {number} of a file that has {frames}")
    if not number and frames > 1:
        raise Unusable(f"holds {frames} frames; save the one that is meant as its own file")
    return header


def _pixels(file: IO[bytes], header: Any, number: int) -> NDArray[Any]:
    """The values of a frame, (H, W) or (H, W, 3) RGB."""
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    file.seek(0)
    syntax = header.file_meta.TransferSyntaxUID
    try:
        frame: NDArray[Any] = pixel_array(cast(BinaryIO, file), index=max(number, 1) - 1)
        if header.PhotometricInterpretation == "PALETTE COLOR":
            frame = apply_color_lut(frame, header)
    except (*DECODE_ERRORS, AttributeError, RuntimeError) as error:
        if syntax.is_compressed:
            raise Unusable(
                f"is compressed by {syntax.name}, which is not read, or is damaged; `gdcmconv --raw IN OUT` unpacks it"
            ) from None
        raise Unusable(f"is truncated or damaged ({_reason(error)})") from None
    return frame


def _window(header: Any) -> Range | None:
    """Black and white of the first window of a file."""
    centre, width = (_first(header.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if centre is None or width is None or width < 1:
        return None
    if header.get("VOILUTFunction", "LINEAR") == "LINEAR_EXACT":
        return centre - width / 2, centre + width / 2
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2


def _first(value: Any) -> float | None:
    """A number, or the first of several; None for none."""
    values = value if isinstance(value, list | tuple) or hasattr(value, "append") else [value]
    return None if not values or values[0] in (None, "") else float(values[0])


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
