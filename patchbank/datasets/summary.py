"""What a set consists of: images of each split against the published number, sizes, and how often each class occurs.

`Tally` collects it during a scan, image by image; `Summary` is the result, as text for people and as JSON. A number
of images that differs from the published one is a warning and no error: people use parts of sets on purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from patchbank.datasets.labels import IGNORE
from patchbank.datasets.layouts import Listing
from patchbank.datasets.probe import Kind, Probe
from patchbank.datasets.spec import DatasetSpec

Size = tuple[int, int]


@dataclass(frozen=True)
class SplitSummary:
    """One split.

    Attributes:
        images: number of images.
        published: the number that the set's authors publish, None where it is not known.
        narrowest, widest, lowest, highest: extremes of width and height in pixels.
        commonest: the size (width, height) that most images have.
        common: how many have it.
        pixels: labelled pixels of each class, then ignored ones; () without masks.
        occurs: images in which each class occurs, then those with ignored pixels; () without masks.
        unscored: images whose mask is ignored as a whole.
    """

    images: int
    published: int | None
    narrowest: int
    widest: int
    lowest: int
    highest: int
    commonest: Size
    common: int
    pixels: tuple[int, ...] = ()
    occurs: tuple[int, ...] = ()
    unscored: int = 0


@dataclass(frozen=True)
class Summary:
    """A whole set: its splits, and how many images needed which conversion."""

    dataset: str
    classes: tuple[str, ...]
    splits: Mapping[str, SplitSummary]
    conversions: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain values for `check.json`."""
        return asdict(self)

    def notes(self) -> Iterator[str]:
        """What a log should say: counts, conversions, and what may be wrong."""
        counts = ", ".join(f"{name} {split.images}" for name, split in self.splits.items())
        yield f"{self.dataset}: {counts} images, {'labelled' if self.classes else 'without labels'}"
        if self.conversions:
            done = ", ".join(f"{name} ({count})" for name, count in sorted(self.conversions.items()))
            yield f"{self.dataset}: converted: {done}"
        for name, split in self.splits.items():
            absent = [label for label, images in zip(self.classes, split.occurs, strict=False) if not images]
            if absent:
                yield f"{self.dataset}: split {name} has no pixel of {', '.join(absent)}"
            if split.unscored:
                yield f"{self.dataset}: split {name} has {split.unscored} images whose whole mask is ignored"

    def table(self) -> str:
        """Two tables as text: the splits, and the classes where there are any."""
        rows = [["split", "images", "published", "width", "height", "most often"]]
        for name, split in self.splits.items():
            published = "-" if split.published is None else f"{split.published:,}"
            often = f"{split.commonest[0]}x{split.commonest[1]} ({split.common:,})"
            width, height = f"{split.narrowest}-{split.widest}", f"{split.lowest}-{split.highest}"
            rows.append([name, f"{split.images:,}", published, width, height, often])
        lines = _aligned(rows)
        labelled = {name: split for name, split in self.splits.items() if split.pixels}
        if labelled:
            heads = (head for name in labelled for head in (f"{name} pixels", "share", "images"))
            rows = [["class", *heads]]
            for index, label in enumerate([*self.classes, "(ignored)"]):
                row = [f"{index if label != '(ignored)' else IGNORE} {label}"]
                for split in labelled.values():
                    share = 100 * split.pixels[index] / sum(split.pixels)
                    row += [f"{split.pixels[index]:,}", f"{share:.2f} %", f"{split.occurs[index]:,}"]
                rows.append(row)
            lines += ["", *_aligned(rows)]
        return "\n".join(lines)


class Tally:
    """Adds up the probes of a scan; `histogram` says whether masks were decoded."""

    def __init__(self, spec: DatasetSpec, listing: Listing, histogram: bool) -> None:
        self._spec = spec
        self._lut = np.asarray(spec.lut())
        self._published = published(spec)
        self._histogram = histogram
        self._sizes: dict[str, Counter[Size]] = {split: Counter() for split in listing}
        shape = (len(listing), len(spec.classes) + 1)
        self._pixels = dict(zip(listing, np.zeros(shape, np.int64), strict=True))
        self._occurs = dict(zip(listing, np.zeros(shape, np.int64), strict=True))
        self._unscored: Counter[str] = Counter()
        self._conversions: Counter[str] = Counter()

    def add(self, splits: Sequence[str], probes: Mapping[Kind, Probe]) -> None:
        """Count one usable item, which stands in `splits`."""
        image = probes["image"]
        self._conversions.update(image.conversions)
        pixels = self._classes(probes["mask"]) if "mask" in probes and self._histogram else None
        for split in splits:
            self._sizes[split][image.width, image.height] += 1
            if pixels is not None:
                self._pixels[split] += pixels
                self._occurs[split] += pixels > 0
                self._unscored[split] += not pixels[:-1].any()

    def summary(self) -> Summary:
        """What was counted."""
        splits = {split: self._split(split) for split in self._sizes}
        return Summary(self._spec.name, self._spec.classes, splits, dict(self._conversions))

    def _classes(self, mask: Probe) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Pixels of each class, then ignored ones."""
        found = np.zeros(len(self._spec.classes) + 1, np.int64)
        for value, pixels in mask.values:
            label = self._lut[value] if value >= 0 else IGNORE  # -1 of a signed mask
            found[-1 if label == IGNORE else label] += pixels
        return found

    def _split(self, name: str) -> SplitSummary:
        sizes = self._sizes[name]
        commonest, common = max(sizes.items(), key=lambda pair: (pair[1], pair[0]), default=((0, 0), 0))
        widths, heights = [width for width, _ in sizes] or [0], [height for _, height in sizes] or [0]
        counted = bool(self._pixels[name].any())
        return SplitSummary(
            images=sizes.total(),
            published=self._published.get(name),
            narrowest=min(widths),
            widest=max(widths),
            lowest=min(heights),
            highest=max(heights),
            commonest=commonest,
            common=common,
            pixels=tuple(self._pixels[name].tolist()) if counted else (),
            occurs=tuple(self._occurs[name].tolist()) if counted else (),
            unscored=self._unscored[name],
        )


def published(spec: DatasetSpec) -> Mapping[str, int]:
    """Published number of images of each split, where the set's table has them."""
    counts: Mapping[str, int] = getattr(spec, "published", None) or {}
    return counts


def count_warnings(spec: DatasetSpec, listing: Listing) -> Iterator[str]:
    """A warning for each split whose number of images differs from the published one."""
    for split, items in listing.items():
        expected = published(spec).get(split)
        if expected is not None and expected != len(items):
            yield f"warning: {spec.name}: split {split} has {len(items):,} images, {expected:,} are published"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
