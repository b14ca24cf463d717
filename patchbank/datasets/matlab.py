"""Pictures that are stored as MATLAB files: IIC's Potsdam tiles, `img` (H, W, 4) RGB and infrared, `gt` (H, W)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

MATLAB = b"MATLAB 5.0 MAT-file"
"""First bytes of such a file."""


def open_matlab(data: bytes) -> Image.Image:
    """The one array of a MATLAB file as a picture: (H, W) as grey values, (H, W, 3 or more) as RGB.

    Args:
        data: the file's bytes.

    Raises:
        ValueError: the file is damaged, or does not hold exactly one such array of values from 0 to 255. Other damage
            raises what `patchbank.datasets.images.DECODE_ERRORS` lists.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(io.BytesIO(data))
    except MatReadError as error:
        raise ValueError(str(error)) from None
    arrays = {name: value for name, value in content.items() if not name.startswith("__")}
    if len(arrays) != 1:
        raise ValueError(f"it holds {len(arrays)} variables instead of one picture or mask")
    ((name, value),) = arrays.items()
    whole = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer) and value.size > 0
    if not whole or value.min() < 0 or value.max() > 255 or not (value.ndim == 2 or value.shape[2:] >= (3,)):
        raise ValueError(f"{name!r} is no (H, W) or (H, W, 3 or more) array of 0 to 255")
    pixels = value if value.ndim == 2 else value[..., :3]
    return Image.fromarray(np.ascontiguousarray(pixels, dtype=np.uint8))
