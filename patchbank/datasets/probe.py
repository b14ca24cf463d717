"""What one file of a set is: its digest, its size, the raw values of a mask, or the reason why it cannot be used.

A `Probe` says nothing about label maps, so that a changed map costs no decoding; the scan compares.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.contrast import NO_PROBLEM, Contrast, contrast
from patchbank.datasets.depth import Quantiles, Treatment
from patchbank.datasets.images import (
    PLAIN,
    Decoded,
    decode_image,
    decode_indices,
    decode_open,
    decode_raster,
    read_indices,
    read_size,
)
from patchbank.datasets.labels import instance_ids
from patchbank.datasets.pages import located, page_hash
from patchbank.datasets.pngdata import data_problem
from patchbank.datasets.raster import Raster, is_tile, raster_size
from patchbank.datasets.reading import opened, read_bytes, stream_hash
from patchbank.datasets.unusable import Unusable

Kind = Literal["image", "mask", "instances"]
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Probe:
    """What was found in one file.

    Attributes:
        problem: why the file cannot be used; "" where it can, and only then the rest is meant.
        width: pixels, after EXIF orientation.
        height: pixels, after EXIF orientation.
        digest: SHA-256 of the bytes, 64 hexadecimal digits; of an image the first 16 over name + NUL + bytes, which
            is its content id. "" where only the header was read.
        conversions: names of the conversions that an image needs.
        values: (raw value, pixels) of a mask, ascending.
        contrast: of an image, whether its conversion leaves something to see.
        depth: of an image that a `Treatment` scales, its kind and its quantiles.
    """

    problem: str = ""
    width: int = 0
    height: int = 0
    digest: str = ""
    conversions: tuple[str, ...] = ()
    values: tuple[tuple[int, int], ...] = ()
    contrast: Contrast = NO_PROBLEM
    depth: tuple[str, Quantiles] | None = None

    def to_json(self) -> str:
        """One line of compact JSON."""
        values = [number for pair in self.values for number in pair]
        seen = [self.contrast.problem, self.contrast.lowest, self.contrast.highest]
        depth = None if self.depth is None else list(self.depth)
        stored = [self.width, self.height, self.digest, self.conversions, values, depth, *(seen if seen[0] else ())]
        return json.dumps(stored, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Probe:
        """The probe that `to_json` wrote (of a usable file)."""
        width, height, digest, conversions, values, found, *seen = _DECODER.raw_decode(text)[0]
        pairs = tuple(zip(values[::2], values[1::2], strict=True))
        depth = None if found is None else (found[0], tuple(tuple(channel) for channel in found[1]))
        return cls("", width, height, digest, tuple(conversions), pairs, Contrast(*seen), depth)


def probe(kind: Kind, path: Path, name: str, quick: bool = False, treatment: Treatment = PLAIN) -> Probe:
    """Read and decode one file.

    Args:
        kind: what the file should be.
        path: the file.
        name: its printable path relative to the set's root; part of an image's content id.
        quick: read the header only; digest, conversions, values and contrast stay empty.
        treatment: of deep images.
    """
    try:
        if quick:
            return Probe("", *read_size(path, kind != "image", treatment))
        if is_tile(path):
            return _of_tile(kind, path, name, treatment)
        if kind == "image" and raster_size(path) is not None:
            file, page = located(path)
            before = name.encode() + b"\0"
            digest = page_hash(file, page, before) if page else stream_hash(file, before)
            return _image(decode_raster(path, treatment), digest, raster_size(path))
        if located(path)[1]:
            return _of_page(kind, path, name, treatment)
        data = read_bytes(path)
        decoded = _decoded(kind, name, data, treatment)
        problem = data_problem(data)
        return Probe(f"is truncated or damaged ({problem})") if problem else decoded
    except Unusable as reason:
        return Probe(str(reason))


def _decoded(kind: Kind, name: str, data: bytes, treatment: Treatment) -> Probe:
    if kind == "image":
        return _image(decode_image(data, treatment), hashlib.sha256(name.encode() + b"\0" + data).hexdigest())
    return _mask(kind, decode_indices(data), hashlib.sha256(data).hexdigest())


def _of_page(kind: Kind, path: Path, name: str, treatment: Treatment) -> Probe:
    """Of a page of a file, whose other pages are not read."""
    file, page = located(path)
    with opened(file) as pages:
        if kind == "image":
            return _image(decode_open(pages, treatment, page), page_hash(file, page, name.encode() + b"\0"))
    return _mask(kind, read_indices(path), page_hash(file, page))


def _of_tile(kind: Kind, path: Path, name: str, treatment: Treatment) -> Probe:
    """Of a tile; its digest is over its own values as stored, so that other tiles of the raster may change."""
    if kind != "image":
        raw = read_indices(path)
        return _mask(kind, raw, hashlib.sha256(f"{raw.dtype} {raw.shape}".encode() + raw.tobytes()).hexdigest())
    with Raster(path, treatment) as raster:
        digest = hashlib.sha256(
            name.encode() + b"\0" + raster.meaning.encode() + raster.values(0, raster.height).tobytes()
        )
        shown = Decoded(raster.reduced(), raster.told, None, raster.deep)
        return _image(shown, digest.hexdigest(), raster.size)


def _image(decoded: Decoded, digest: str, size: tuple[int, int] | None = None) -> Probe:
    depth = None if decoded.deep is None else (decoded.deep.kind, decoded.deep.quantiles())
    return Probe("", *(size or decoded.image.size), digest[:16], decoded.conversions, (), contrast(decoded), depth)


def _mask(kind: Kind, raw: NDArray[Any], digest: str) -> Probe:
    height, width = raw.shape
    if kind == "instances":
        instance_ids(raw)
    return Probe("", width, height, digest, (), _count(raw) if kind == "mask" else ())


def _count(raw: NDArray[Any]) -> tuple[tuple[int, int], ...]:
    """(value, pixels) of an integer array, ascending."""
    if raw.dtype == np.uint8:
        counts = np.bincount(raw.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        counts = counts[values]
    else:
        values, counts = np.unique(raw, return_counts=True)
    return tuple(zip(values.tolist(), counts.tolist(), strict=True))
