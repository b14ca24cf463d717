"""Pictures of more than 8 bits, of floats, or of many bands: which values become black and white, and which bands RGB.

Its code is part of the record of banks whose sets have such pictures, and of no others (`patchbank.bank.record`).

| scale | black and white are |
|---|---|
| `percentile` | the 2nd and 98th percentile: 12-bit data in 16-bit files fill the range, a dead pixel counts nothing |
| `minmax` | the smallest and largest value |
| `full` | the ends of the integer type's range (floats: 0 and 1) |
| `window` | two given values |

Where the 2nd and 98th percentile are one value, as of sparse data, `percentile` is `minmax`; where that is one value,
too, everything is black.

Each channel has its own black and white, found over the whole set (`per: set`: pictures stay comparable) or in each
picture. Where nothing is configured, pictures of 8 bits stay as they are and deeper ones are scaled by `percentile`
over the set; a configured scale holds for all. Values that are not finite, and those that a file calls no data, are
black and count nowhere.

Of the bands that are named (from 1 on) one becomes grey and three become red, green and blue. By default: the first of
one or two, the first three of more. Of `pca` the principal directions of the set's bands do
(`patchbank.datasets.directions`), and what is scaled are the values along them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.directions import Directions, fitted, sampled

Scale = Literal["percentile", "minmax", "full", "window"]
Range = tuple[float, float]
LOW, HIGH = 2, 98
"""Percentiles of `percentile`."""
STEPS = np.linspace(0, 100, 101)
"""Percentiles that are kept of a picture, so that those of the set follow from them."""
SAMPLED = 1 << 20
"""Values of a channel from which percentiles are taken at most, evenly spread."""
STRIP = 1 << 18
"""Values of a channel that are scaled at a time."""


@dataclass(frozen=True)
class Treatment:
    """How deep pictures become 8-bit RGB.

    Attributes:
        scale: see the module; None is `percentile` for deeper pictures and nothing for those of 8 bits.
        per: where black and white are found.
        window: black and white of `window`.
        bands: one or three bands, from 1 on; () for the default; the principal directions of the set.
        ranges: black and white of each channel by the kind of pictures (`Deep.kind`), once they are known of the set.
    """

    scale: Scale | None = None
    per: Literal["set", "image"] = "set"
    window: Range | None = None
    bands: tuple[int, ...] | Directions = ()
    ranges: Mapping[str, Sequence[Range]] = field(default_factory=dict)

    @property
    def touches_bytes(self) -> bool:
        """Whether pictures of 8 bits are treated, too."""
        return self.scale not in (None, "full") or bool(self.bands)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        ranges = {kind: [list(one) for one in found] for kind, found in sorted(self.ranges.items())}
        window = None if self.window is None else list(self.window)
        bands = self.bands.to_json() if isinstance(self.bands, Directions) else list(self.bands)
        return {"scale": self.scale, "per": self.per, "window": window, "bands": bands, "ranges": ranges}

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> Treatment:
        """What `to_json` gave; None is the default."""
        if values is None:
            return cls()
        ranges = {kind: [(low, high) for low, high in found] for kind, found in values["ranges"].items()}
        window = None if values["window"] is None else (values["window"][0], values["window"][1])
        stored = values["bands"]
        bands = tuple(stored) if isinstance(stored, list) else Directions.from_json(stored)
        return cls(values["scale"], values["per"], window, bands, ranges)

    def over(self, quantiles: Iterable[tuple[str, Quantiles]]) -> Treatment:
        """This treatment with the directions and ranges of a set, from kind and quantiles of each of its pictures."""
        if isinstance(self.bands, Directions) and not self.bands.mean:
            directions, along = fitted(quantiles)
            pooled = [(_kind(along), tuple(tuple(one.tolist()) for one in along.T))]
            return replace(self, bands=directions).over(pooled)
        if self.per == "image" or self.scale in ("full", "window"):
            return self
        kinds: dict[str, list[Quantiles]] = {}
        for kind, one in quantiles:
            kinds.setdefault(kind, []).append(one)
        ranges = {}
        for kind, found in sorted(kinds.items()):
            joined = [
                np.sort(np.concatenate([np.asarray(one) for one in channel])) for channel in zip(*found, strict=True)
            ]
            ranges[kind] = [_range(channel, self.scale or "percentile") for channel in joined]
        return replace(self, ranges=ranges)


Quantiles = tuple[Sequence[float], ...]
"""The percentiles `STEPS` of each channel, () of one without values; of `OfBands` the values of sampled pixels."""


@dataclass(frozen=True, eq=False)
class Deep:
    """A decoded picture before it has 8 bits.

    Attributes:
        values: (H, W, C) numbers, C = 1 or 3.
        valid: (H, W) which pixels hold data; None for all of them.
        inverted: small values are bright.
        told: what was done to it already, for people.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None = None
    inverted: bool = False
    told: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """Pictures of one kind share black and white: their type and number of channels, e.g. ``uint16x1``."""
        return _kind(self.values)

    def quantiles(self) -> Quantiles:
        """The percentiles `STEPS` of each channel, of valid values; () where there are none."""
        found = []
        for channel in range(self.values.shape[2]):
            values = self.values[..., channel]
            values = values.ravel() if self.valid is None else values[self.valid]
            values = values[:: max(1, len(values) // SAMPLED)]
            values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
            found.append(tuple(np.percentile(values.astype(np.float64), STEPS).tolist()) if len(values) else ())
        return tuple(found)

    def to_bytes(self, treatment: Treatment) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, grey three times."""
        ranges = self.ranges(treatment)
        channels = [_scaled(self.values[..., index], *one) for index, one in enumerate(ranges)]
        pixels = np.stack(channels, axis=-1)
        if self.inverted:
            pixels = 255 - pixels
        if self.valid is not None:
            pixels[~self.valid] = 0
        return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))

    def ranges(self, treatment: Treatment) -> Sequence[Range]:
        """Black and white of each channel."""
        count, dtype = self.values.shape[2], self.values.dtype
        plain = treatment.scale is None and dtype == np.uint8
        if treatment.scale == "full" or plain:
            limits = (0.0, 1.0) if dtype.kind == "f" else (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max))
            return [limits] * count
        if treatment.window is not None:
            return [treatment.window] * count
        if self.kind in treatment.ranges:
            return treatment.ranges[self.kind]
        return [_range(np.asarray(one), treatment.scale or "percentile") for one in self.quantiles()]

    def settled(self, treatment: Treatment) -> Treatment:
        """A treatment with what this picture takes of its own, where the set has none."""
        return replace(treatment, ranges={**treatment.ranges, self.kind: self.ranges(treatment)})


@dataclass(frozen=True, eq=False)
class OfBands(Deep):
    """A picture of which principal directions become red, green and blue; `values` are of all its bands, (H, W, C)."""

    def quantiles(self) -> Quantiles:
        """The values of each band at sampled pixels, from which the directions of a set are found."""
        return sampled(self.values, self.valid)

    def to_bytes(self, treatment: Treatment) -> NDArray[np.uint8]:
        """(H, W, 3) uint8."""
        along, treatment = self._along(treatment)
        return along.to_bytes(treatment)

    def ranges(self, treatment: Treatment) -> Sequence[Range]:
        """Black and white along each direction."""
        along, treatment = self._along(treatment)
        return along.ranges(treatment)

    def settled(self, treatment: Treatment) -> Treatment:
        """With directions, and with black and white along them."""
        along, treatment = self._along(treatment)
        return along.settled(treatment)

    def _along(self, treatment: Treatment) -> tuple[Deep, Treatment]:
        """The picture along the directions of the set, or along its own where those are not known."""
        assert isinstance(treatment.bands, Directions)
        known = treatment.bands if treatment.bands.mean else fitted([(self.kind, self.quantiles())])[0]
        return Deep(known.project(self.values), self.valid, self.inverted), replace(treatment, bands=known)


def _kind(values: NDArray[Any]) -> str:
    return f"{values.dtype.newbyteorder('=').name}x{values.shape[-1]}"


def _range(values: NDArray[np.float64], scale: Scale) -> Range:
    """Black and white of pooled percentiles (n,); 0 and 0 where no picture has a value."""
    if not len(values):
        return 0.0, 0.0
    black, white = np.percentile(values, [0, 100] if scale == "minmax" else [LOW, HIGH])
    if black == white:
        black, white = values.min(), values.max()
    return float(black), float(white)


def _scaled(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    """8-bit values (H, W); all 0 where black and white are one value. Only a strip of rows is in float64 at a time."""
    scaled = np.zeros(values.shape, dtype=np.uint8)
    if white <= black:
        return scaled
    rows = max(1, STRIP // max(1, values.shape[1]))
    for start in range(0, len(values), rows):
        exact = (values[start : start + rows].astype(np.float64) - black) * (255 / (white - black))
        scaled[start : start + rows] = np.rint(np.clip(np.nan_to_num(exact, nan=0.0), 0, 255)).astype(np.uint8)
    return scaled
