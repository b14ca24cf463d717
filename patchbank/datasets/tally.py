"""Counts what a scan finds, image by image, into a `Summary`. Nothing is decoded here."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from patchbank.datasets.contrast import Contrast
from patchbank.datasets.depth import Quantiles
from patchbank.datasets.labels import IGNORE
from patchbank.datasets.probe import Kind, Probe
from patchbank.datasets.spec import DatasetSpec
from patchbank.datasets.summary import Pictures, Size, SplitSummary, Summary

IGNORED = -1
"""Where ignored pixels are counted, behind the classes."""


class Tally:
    """Adds up the probes of a scan; `histogram` says whether files were decoded.

    Attributes:
        depths: kind and quantiles of every deep image.
    """

    def __init__(self, spec: DatasetSpec, histogram: bool) -> None:
        self._spec = spec
        self._lut = spec.lut()
        self._histogram = histogram
        self._sizes: dict[str, Counter[Size]] = {split: Counter() for split in spec.splits}
        self._pixels = {split: [0] * (len(spec.classes) + 1) for split in spec.splits}
        self._occurs = {split: [0] * (len(spec.classes) + 1) for split in spec.splits}
        self._named: dict[str, dict[str, list[str]]] = {
            split: {"unscored": [], "without_mask": [], "without_instances": []} for split in spec.splits
        }
        self._conversions: Counter[str] = Counter()
        self.depths: list[tuple[str, Quantiles]] = []
        self._raw: Counter[int] = Counter()
        self._empty: dict[str, list[tuple[str, Contrast]]] = {}

    def add(self, splits: Sequence[str], name: str, probes: Mapping[Kind, Probe], absent: Collection[Kind]) -> None:
        """Count one usable item.

        Args:
            splits: those that it stands in.
            name: of its image, printable.
            probes: of its files.
            absent: kinds of files that it should have and has not.
        """
        image = probes["image"]
        if image.conversions:
            self._conversions.update(image.conversions)
        if image.depth is not None:
            kind, values = image.depth
            self.depths.append((kind, tuple(array("d", channel) for channel in values)))  # small where there are many
        if image.contrast.problem:
            self._empty.setdefault(image.contrast.problem, []).append((name, image.contrast))
        pixels = self._classes(probes["mask"]) if "mask" in probes and self._histogram else None
        for value, number in probes["mask"].values if pixels is not None else ():
            self._raw[value] += number
        for split in splits:
            named = self._named[split]
            self._sizes[split][image.width, image.height] += 1
            if self._spec.classes and "mask" not in probes:
                named["without_mask"].append(name)
            if "instances" in absent:
                named["without_instances"].append(name)
            if pixels is not None:
                for label, number in pixels.items():
                    self._pixels[split][label] += number
                    self._occurs[split][label] += 1
                if not pixels.keys() - {IGNORED}:
                    named["unscored"].append(name)

    def summary(self) -> Summary:
        """What was counted."""
        return Summary(
            dataset=self._spec.name,
            classes=self._spec.classes,
            train_split=self._spec.train_split,
            eval_split=self._spec.eval_split,
            splits={split: self._split(split) for split in self._spec.splits},
            conversions=dict(self._conversions),
            raw=dict(sorted(self._raw.items())),
            empty={
                problem: Pictures(
                    names=tuple(name for name, _ in images),
                    lowest=min(contrast.lowest for _, contrast in images),
                    highest=max(contrast.highest for _, contrast in images),
                )
                for problem, images in sorted(self._empty.items())
            },
        )

    def _classes(self, mask: Probe) -> dict[int, int]:
        """Pixels of each class that occurs, and of what is ignored (`IGNORED`)."""
        totals: dict[int, int] = {}
        for value, pixels in mask.values:
            label = self._lut[value] if value >= 0 else IGNORE  # -1 of a signed mask
            label = IGNORED if label == IGNORE else label
            totals[label] = totals.get(label, 0) + pixels
        return totals

    def _split(self, name: str) -> SplitSummary:
        sizes, pixels, occurs = self._sizes[name], self._pixels[name], self._occurs[name]
        commonest, common = max(sizes.items(), key=lambda pair: (pair[1], pair[0]), default=((0, 0), 0))
        widths, heights = [width for width, _ in sizes] or [0], [height for _, height in sizes] or [0]
        counted, named = any(pixels), self._named[name]
        return SplitSummary(
            images=sizes.total(),
            published=self._spec.published.get(name),
            narrowest=min(widths),
            widest=max(widths),
            lowest=min(heights),
            highest=max(heights),
            commonest=commonest,
            common=common,
            pixels=tuple(pixels) if counted else (),
            occurs=tuple(occurs) if counted else (),
            ignored=pixels[-1] / sum(pixels) if counted else None,
            absent=tuple(c for c, n in zip(self._spec.classes, pixels, strict=False) if not n) if counted else (),
            **{kind: len(names) for kind, names in named.items()},
            named={kind: tuple(names) for kind, names in named.items() if 0 < len(names) < sizes.total()},
        )
