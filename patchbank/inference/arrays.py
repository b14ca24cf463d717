"""`patchbank.segment`: pictures in memory to arrays, for notebooks; the same segments as the command writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets.images import PLAIN, decode_file
from patchbank.errors import UserError
from patchbank.inference.models import row_models
from patchbank.inference.segment import SegmentSettings, open_segmenter


class Segmented(NamedTuple):
    """What `segment` returns.

    Attributes:
        labels: one (H, W) int64 array a picture, of the picture's own size; -1 where there is no id.
        names: of the ids.
        colours: (ids, 3) uint8 RGB.
    """

    labels: list[NDArray[np.int64]]
    names: tuple[str, ...]
    colours: NDArray[np.uint8]


def segment(images: Any, row: str | Path, *, own_ids: bool = False, **settings: Any) -> Segmented:
    """Divide pictures with a row of results.

    Args:
        images: one or several of: the path of a picture, a PIL image, an array (H, W, 3) uint8 RGB or (H, W) grey.
        row: ``results/<set>/<row>``.
        own_ids: keep ids inside each picture even where there are clusters.
        settings: of `patchbank.inference.segment.SegmentSettings`: `size`, `window`, `upsample`, `precision`, `device`.

    Raises:
        UserError: the row cannot be used, or one of the images is none.

    Example:
        >>> labels, names, colours = patchbank.segment("cat.jpg", "results/mine/kmeans")  # doctest: +SKIP
        >>> names[labels[0][40, 60]]                                                      # doctest: +SKIP
        'cluster 3'
    """
    try:
        wanted = SegmentSettings(**settings)
    except TypeError:
        known = ", ".join(SegmentSettings.__dataclass_fields__)
        raise UserError(f"segment takes {known} and own_ids, received {', '.join(settings)}.") from None
    models = row_models(row, own_ids=own_ids)
    segmenter, wanted = open_segmenter(models, wanted)
    treatment, labels = models.treatment() or PLAIN, []
    for number, one in enumerate(_listed(images)):
        image = decode_file(Path(one), treatment).image if isinstance(one, str | Path) else _picture(one, number)
        (found,) = segmenter([image])
        if not np.isfinite(found.scores).all():
            raise UserError(f"image {number}: the encoder's tokens are not finite numbers.")
        labels.append(found.pixel_ids(image.height, image.width, wanted.upsample))
    return Segmented(labels, segmenter.naming.names, segmenter.naming.colours)


def _listed(images: Any) -> Iterable[Any]:
    single = isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim < 4)
    return [images] if single else images


def _picture(one: Any, number: int) -> Image.Image:
    """An image in memory as RGB."""
    if isinstance(one, Image.Image):
        return one.convert("RGB")
    values = np.asarray(one)
    if values.dtype != np.uint8 or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise UserError(
            f"image {number} is an array {values.shape} of {values.dtype}; give (H, W, 3) or (H, W) of uint8, a PIL "
            "image, or the path of a picture."
        )
    return Image.fromarray(values).convert("RGB")
