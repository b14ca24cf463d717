"""Sparse pixel counts: the one thing that all protocols are reductions of.

n[i, k, c] is the number of pixels in image i with predicted segment k and true class c; ignored pixels never enter.
Only entries above 0 are kept, ordered by (image, segment, class).

A counts file (`.npz`) holds all variants of one prediction file:

| array | shape | dtype | meaning |
|---|---|---|---|
| `format` | () | int64 | version of this layout |
| `images` | (n,) | S16 | content ids, in the order of the prediction file |
| `variants` | (v,) | U | names of the variants |
| `sizes` | (v, 2) | int64 | segments K and classes C of each variant |
| `upsample` | (v,) | U | rule from grid to pixels that was used: `nearest` or `bilinear` |
| `note` | (v,) | U | why that is not the rule that was asked for, else nothing; older files say it in `upsample` |
| `preprocessing`, `label_kind` | () | U | name of the preprocessing; `class` or `instance` |
| `oracle` | () | U | split whose labels moved the predicting checkpoint; absent where none did |
| `<variant>/entries` | (n,) | unsigned | entries of each image |
| `<variant>/segment`, `klass`, `count` | (m,) | unsigned | the entries, in the smallest dtype that holds them |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import UserError
from patchbank.files import read_npz, write_npz

FORMAT = 1
IGNORE = 255
LabelKind = Literal["class", "instance"]
Upsample = Literal["nearest", "bilinear"]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of one prediction variant.

    Args:
        images: content ids; `image` indexes them.
        image, segment, klass: (m,) int32, ascending in this order, every triple once.
        count: (m,) int64 pixels, > 0.
        segments: number of segments K.
        classes: number of classes C; for instances the largest id + 1.
        preprocessing: name of the preprocessing variant.
        label_kind: what `klass` is, class ids or instance ids (0 = background).
        upsample: rule from grid to pixels that was used.
        note: what was done where that is not what was asked for, and why; else nothing.
    """

    images: tuple[str, ...]
    image: NDArray[np.int32]
    segment: NDArray[np.int32]
    klass: NDArray[np.int32]
    count: Ints
    segments: int
    classes: int
    preprocessing: str
    label_kind: LabelKind = "class"
    upsample: Upsample = "nearest"
    note: str = ""


def count_image(
    segments: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], n_segments: int, n_classes: int
) -> tuple[Ints, Ints, Ints]:
    """Entries of one image by one bincount.

    Args:
        segments: ids (h, w) in 0..K-1.
        labels: class ids (h, w) in 0..C-1; 255 and negative values are ignored.
        n_segments: K.
        n_classes: C.

    Returns:
        (segment, klass, count), each (m,) int64, ordered by (segment, klass).

    Raises:
        ValueError: shapes differ, or an id is outside its range.

    Example:
        >>> segment, klass, count = count_image(np.array([[0, 1, 1]]), np.array([[2, 2, 255]]), 2, 3)
        >>> segment.tolist(), klass.tolist(), count.tolist()
        ([0, 1], [2, 2], [1, 1])
    """
    if segments.shape != labels.shape:
        raise ValueError(f"segments have shape {segments.shape}, labels {labels.shape}.")
    flat, truth = segments.ravel().astype(np.int64), labels.ravel().astype(np.int64)
    kept = (truth >= 0) & (truth != IGNORE)
    flat, truth = flat[kept], truth[kept]
    if len(flat) and (flat.min() < 0 or flat.max() >= n_segments):
        raise ValueError(f"segment ids {flat.min()}..{flat.max()}, expected 0..{n_segments - 1}.")
    if len(truth) and truth.max() >= n_classes:
        raise ValueError(f"class id {truth.max()}, expected 0..{n_classes - 1} or {IGNORE}.")
    dense = np.bincount(flat * n_classes + truth, minlength=1)
    key = np.flatnonzero(dense)
    return key // n_classes, key % n_classes, dense[key].astype(np.int64)


def count_instances(
    segments: NDArray[np.integer[Any]], instances: NDArray[np.integer[Any]], n_segments: int
) -> tuple[Ints, Ints, Ints]:
    """Like `count_image` for instance ids of any size (0 = background counts, negative ids are ignored)."""
    ids, compact = np.unique(instances, return_inverse=True)
    kept = (ids[compact] >= 0).reshape(-1)
    dense = np.bincount(segments.ravel()[kept] * len(ids) + compact.reshape(-1)[kept], minlength=1)
    key = np.flatnonzero(dense)
    segment = key // len(ids)
    if len(segment) and segment.max() >= n_segments:
        raise ValueError(f"segment id {segment.max()}, expected 0..{n_segments - 1}.")
    return segment, ids[key % len(ids)].astype(np.int64), dense[key].astype(np.int64)


def apply_table(counts: Counts, table: NDArray[np.integer[Any]], clusters: int) -> Counts:
    """Counts of clusters from counts of segments.

    Args:
        counts: counts of an image's own segments, Q of them.
        table: (n, Q) cluster of each image's segment, -1 where the segment has no pixel.
        clusters: number of clusters K.

    Raises:
        ValueError: the table has another shape, or a segment with pixels has no cluster in 0..K-1 (it must not
            drop out of the evaluation).
    """
    expected = (len(counts.images), counts.segments)
    if table.shape != expected:
        raise ValueError(f"the cluster table has shape {table.shape}, expected (images, segments) = {expected}.")
    cluster = table[counts.image, counts.segment].astype(np.int64)
    wrong = np.flatnonzero((cluster < 0) | (cluster >= clusters))
    if len(wrong):
        image, segment = counts.images[counts.image[wrong[0]]], counts.segment[wrong[0]]
        raise ValueError(
            f"segment {segment} of image {image} has pixels but cluster {cluster[wrong[0]]} of {clusters}."
        )
    key = (counts.image * np.int64(clusters) + cluster) * counts.classes + counts.klass
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    key = key[order][starts]
    total = np.add.reduceat(counts.count[order], starts) if len(starts) else counts.count[:0]
    pair, klass = np.divmod(key, counts.classes)
    return replace(
        counts,
        image=(pair // clusters).astype(np.int32),
        segment=(pair % clusters).astype(np.int32),
        klass=klass.astype(np.int32),
        count=total,
        segments=clusters,
    )


def confusion(counts: Counts) -> Ints:
    """Pixels (K, C) int64 of each segment and class over all images."""
    key = counts.segment * np.int64(counts.classes) + counts.klass
    # float64 weights are exact: a set has far fewer than 2**53 pixels
    dense = np.bincount(key, weights=counts.count, minlength=counts.segments * counts.classes)
    return dense.astype(np.int64).reshape(counts.segments, counts.classes)


def image_confusions(counts: Counts) -> Iterator[tuple[int, Ints, Ints, Ints]]:
    """Yield (image index, segment ids (s,), class ids (c,), pixels (s, c) int64) of each image with labelled pixels.

    Only segments and classes with pixels are listed, ascending.
    """
    bounds = np.searchsorted(counts.image, np.arange(len(counts.images) + 1))
    for image, (start, stop) in enumerate(pairwise(bounds)):
        if start == stop:
            continue
        segments, row = np.unique(counts.segment[start:stop], return_inverse=True)
        classes, column = np.unique(counts.klass[start:stop], return_inverse=True)
        pixels = np.zeros((len(segments), len(classes)), np.int64)
        pixels[row, column] = counts.count[start:stop]
        yield image, segments.astype(np.int64), classes.astype(np.int64), pixels


def mean_used_segments(counts: Counts) -> float:
    """Mean number of segments with labelled pixels, over the images that have any; NaN without one."""
    images = len(np.unique(counts.image))
    pairs = np.unique(counts.image * np.int64(counts.segments) + counts.segment)
    return len(pairs) / images if images else float("nan")


class CountsFile(Mapping[str, Counts]):
    """A counts file in memory in its stored, small form; indexing builds the `Counts` of one variant.

    Raises:
        UserError: the file is missing, broken or of another format.
    """

    def __init__(self, path: str | Path) -> None:
        self._arrays = read_npz(path)
        version = int(self._arrays.get("format", np.int64(-1)))
        if version != FORMAT:
            raise UserError(
                f"{path} has counts format {version}, this version reads {FORMAT}; `snakemake -f` makes it again."
            )
        self._names = [str(name) for name in self._arrays["variants"]]
        self.images = tuple(name.decode() for name in self._arrays["images"].tolist())
        self.preprocessing = str(self._arrays["preprocessing"])
        self.segments: dict[str, int] = dict(zip(self._names, self._arrays["sizes"][:, 0].tolist(), strict=True))
        self.oracle = str(self._arrays["oracle"]) if "oracle" in self._arrays else None
        self.label_kind: LabelKind = "instance" if str(self._arrays["label_kind"]) == "instance" else "class"

    def __getitem__(self, variant: str) -> Counts:
        position = self._names.index(variant) if variant in self._names else -1
        if position < 0:
            raise KeyError(variant)
        arrays = {name: self._arrays[f"{variant}/{name}"] for name in ("entries", "segment", "klass", "count")}
        segments, classes = self._arrays["sizes"][position].tolist()
        said = str(self._arrays["upsample"][position])
        old_note = "" if said in ("nearest", "bilinear") else said
        return Counts(
            images=self.images,
            image=np.repeat(np.arange(len(self.images), dtype=np.int32), arrays["entries"]),
            segment=arrays["segment"].astype(np.int32),
            klass=arrays["klass"].astype(np.int32),
            count=arrays["count"].astype(np.int64),
            segments=segments,
            classes=classes,
            preprocessing=self.preprocessing,
            label_kind=self.label_kind,
            upsample="bilinear" if said == "bilinear" else "nearest",
            note=str(self._arrays["note"][position]) if "note" in self._arrays else old_note,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def save_counts(path: str | Path, variants: Mapping[str, Counts], oracle: str | None = None) -> None:
    """Write the counts of all variants of one prediction file, whose record says `oracle`.

    Raises:
        ValueError: no variant, or variants of different images, preprocessing or label kind.
    """
    first = next(iter(variants.values()), None)
    if first is None:
        raise ValueError(f"{path}: no variant to save.")
    arrays: dict[str, NDArray[Any]] = {
        "format": np.array(FORMAT),
        "images": np.array(first.images, dtype="S16"),
        "variants": np.array(list(variants)),
        "sizes": np.array([(c.segments, c.classes) for c in variants.values()], dtype=np.int64),
        "upsample": np.array([c.upsample for c in variants.values()]),
        "note": np.array([c.note for c in variants.values()]),
        "preprocessing": np.array(first.preprocessing),
        "label_kind": np.array(first.label_kind),
        **({"oracle": np.array(oracle)} if oracle else {}),
    }
    for name, counts in variants.items():
        if (counts.images, counts.preprocessing, counts.label_kind) != (
            first.images,
            first.preprocessing,
            first.label_kind,
        ):
            raise ValueError(f"{path}: variant {name} differs in images, preprocessing or label kind.")
        entries = np.bincount(counts.image, minlength=len(counts.images))
        parts: dict[str, NDArray[Any]] = {"segment": counts.segment, "klass": counts.klass, "count": counts.count}
        parts["entries"] = entries
        for part, values in parts.items():
            arrays[f"{name}/{part}"] = values.astype(np.min_scalar_type(int(values.max(initial=0))))
    write_npz(path, arrays)
