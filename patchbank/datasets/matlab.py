"""A reader for Pillow of pictures in MATLAB files: IIC's Potsdam tiles, `img` (H, W, 4) RGB and infrared, `gt` (H, W).

Shapes the values of banks (`patchbank.bank.identity`).

Importing this module makes `PIL.Image.open` read them: the one array of the file as grey values (H, W) or RGB (the
first three channels).
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFile

MAGIC = b"MATLAB 5.0 MAT-file"
"""First bytes of such a file."""


class MatlabImage(ImageFile.ImageFile):
    """A MATLAB file opened by Pillow; `ValueError` where it is damaged or holds anything but one picture or mask."""

    format = "MATLAB"
    format_description = "MATLAB 5 file with one array"

    def _open(self) -> None:
        picture = Image.fromarray(_pixels(self.fp.read()))  # type: ignore[union-attr]
        self._size, self._mode = picture.size, picture.mode
        self.im = picture.im


def _pixels(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(H, W) or (H, W, 3) uint8."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(io.BytesIO(data))
    except (MatReadError, TypeError, IndexError) as error:
        raise ValueError(f"a damaged MATLAB file: {error}") from None
    arrays = {name: value for name, value in content.items() if not name.startswith("__")}
    if len(arrays) != 1:
        raise ValueError(f"a MATLAB file of {len(arrays)} variables instead of one picture or mask")
    ((name, value),) = arrays.items()
    whole = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer) and value.size > 0
    if not whole or value.min() < 0 or value.max() > 255 or not (value.ndim == 2 or value.shape[2:] >= (3,)):
        raise ValueError(f"a MATLAB file whose {name!r} is no (H, W) or (H, W, 3 or more) array of 0 to 255")
    return np.ascontiguousarray(value if value.ndim == 2 else value[..., :3], dtype=np.uint8)


Image.register_open(MatlabImage.format, MatlabImage, lambda prefix: prefix.startswith(MAGIC[:16]))
