"""Principal directions of the bands of a set: with `bands: pca` the three strongest become red, green and blue.

Its code is part of the record of banks whose sets ask for that, and of no others (`patchbank.bank.record`).

Directions are eigenvectors of the covariance of bands (Pearson 1901, https://doi.org/10.1080/14786440109462720), over
`PIXELS` pixels of each picture, the strongest first. They are rounded, so that another LAPACK makes the same, and the
largest entry of each is positive, the first of several. A direction along which nothing varies is 0, and so is its
colour. A picture that stands alone has directions of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.unusable import Unusable

FEWEST = 4
"""Bands of a picture that has directions."""
PIXELS = 256
"""Pixels that are taken of a picture at most, evenly spread over those with data."""
POOLED = 1 << 20
"""Pixels of a set from which directions are found, about, at most; of larger sets fewer of each picture count."""
FLAT = 1e-9
"""Variance along a direction, as a share of the strongest, below which nothing varies."""
DECIMALS = 8
_GOLDEN = (5**0.5 - 1) / 2
_STRIP = 1 << 14

Sample = tuple[Sequence[float], ...]
"""Values of each band, of the same pixels."""


@dataclass(frozen=True)
class Directions:
    """What the bands of a set are projected on; without arguments it is asked for, and not known yet.

    Attributes:
        dtype: type of the values, e.g. ``uint16``.
        mean: (C,) of the bands.
        matrix: (C, 3) columns of length 1, or 0.
    """

    dtype: str = ""
    mean: tuple[float, ...] = ()
    matrix: tuple[tuple[float, ...], ...] = ()

    def to_json(self) -> Any:
        """Plain values; ``pca`` of what is not known yet."""
        if not self.mean:
            return "pca"
        return {"dtype": self.dtype, "mean": list(self.mean), "matrix": [list(row) for row in self.matrix]}

    @classmethod
    def from_json(cls, values: Any) -> Directions:
        """What `to_json` gave."""
        if values == "pca":
            return cls()
        return cls(values["dtype"], tuple(values["mean"]), tuple(tuple(row) for row in values["matrix"]))

    def check(self, dtype: np.dtype[Any], count: int) -> None:
        """`Unusable` for a picture of `count` bands that has no directions, or not these."""
        name = dtype.newbyteorder("=").name
        if count < FEWEST:
            what = "1 band" if count == 1 else f"{count} bands"
            raise Unusable(f"has {what}, and `bands: pca` is for pictures of {FEWEST} or more; leave it out")
        if self.mean and (count, name) != (len(self.mean), self.dtype):
            raise Unusable(
                f"has {count} bands of {name}, and the set's principal directions are of {len(self.mean)} bands of "
                f"{self.dtype}; give it the bands of the set"
            )

    def project(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values along the directions, (H, W, 3), of values (H, W, C). Each pixel has its bits in any part of it."""
        projected = np.empty((*values.shape[:2], 3), dtype=np.float32)
        rows = max(1, _STRIP // max(1, values.shape[1]))
        with np.errstate(over="ignore", invalid="ignore"):  # values without meaning, which become black
            for start in range(0, len(values), rows):
                part = values[start : start + rows]
                along = np.zeros((3, *part.shape[:2]))
                for band, weights in enumerate(self.matrix):  # no matrix product: its bits depend on the number of rows
                    centred = part[..., band].astype(np.float64) - self.mean[band]
                    for column, weight in enumerate(weights):
                        along[column] += centred * weight
                projected[start : start + rows] = np.moveaxis(along, 0, -1)
        return projected


Chosen = Sequence[int] | Directions
"""Which bands of a picture are taken: by number, or its principal directions."""


def numbered(chosen: Chosen) -> Sequence[int]:
    """The bands taken of a file that is no TIFF of many; `Unusable` where directions of such are asked for."""
    if isinstance(chosen, Directions):
        raise Unusable(f"is no TIFF of {FEWEST} or more bands, for which `bands: pca` is; leave it out")
    return chosen


def sampled(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> Sample:
    """`PIXELS` of the valid pixels of values (H, W, C), all of them where there are no more."""
    pixels = values.reshape(-1, values.shape[2])
    count = len(pixels) if valid is None else int(np.count_nonzero(valid))
    chosen = np.arange(min(count, PIXELS))
    if count > PIXELS:  # multiples of the golden ratio are even over rows, and meet all columns
        chosen = np.sort((chosen * _GOLDEN % 1 * count).astype(np.int64))
    chosen = chosen if valid is None else np.flatnonzero(valid)[chosen]
    return tuple(tuple(band.tolist()) for band in pixels[chosen].T)


def fitted(samples: Iterable[tuple[str, Sample]]) -> tuple[Directions, NDArray[np.float32]]:
    """The directions of a set, and its sampled pixels along them, (n, 3).

    Args:
        samples: kind (`patchbank.datasets.depth.Deep.kind`, the same for all) and sample of each picture.
    """
    listed = list(samples)
    every = -(-sum(len(bands[0]) for _, bands in listed) // POOLED) or 1
    pixels = np.concatenate([np.asarray(bands, dtype=np.float64)[:, ::every].T for _, bands in listed])
    directions = _directions(listed[0][0].rpartition("x")[0], pixels)
    return directions, directions.project(pixels[:, None])[:, 0]


def _directions(dtype: str, pixels: NDArray[np.float64]) -> Directions:
    """Of pixels (n, C)."""
    count = pixels.shape[1]
    if not len(pixels):
        return Directions(dtype, (0.0,) * count, ((0.0,) * 3,) * count)
    scale = 2.0 ** (np.frexp(np.abs(pixels).max())[1] - 1)  # no sum and no square overflows, and no bit is lost
    pixels = pixels / scale
    mean = pixels.mean(0)
    variances, vectors = np.linalg.eigh((pixels - mean).T @ (pixels - mean))
    strongest = np.round(vectors[:, :-4:-1], DECIMALS)
    strongest = strongest * np.sign(strongest[np.abs(strongest).argmax(0), np.arange(3)])
    strongest[:, variances[:-4:-1] <= FLAT * variances[-1]] = 0
    return Directions(dtype, tuple((mean * scale).tolist()), tuple(tuple(row) for row in (strongest + 0.0).tolist()))
