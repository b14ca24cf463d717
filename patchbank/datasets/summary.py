"""What a set consists of: images of each split against the published number, sizes, and how often each class occurs.

`patchbank.datasets.tally` collects it during a scan, `patchbank.datasets.notes` says what of it is worth a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from patchbank.datasets.labels import IGNORE

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
        ignored: share of the masks' pixels that are ignored, 0 to 1; None without masks.
        absent: classes that no pixel has.
        unscored: images whose mask is ignored as a whole.
        without_mask: images of a set with classes that have no mask.
        without_instances: images that have no instance map where one is expected.
        named: names of the images that the last three count, by ``"unscored"``, ``"without_mask"`` and
            ``"without_instances"``; none where that is the whole split.
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
    ignored: float | None = None
    absent: tuple[str, ...] = ()
    unscored: int = 0
    without_mask: int = 0
    without_instances: int = 0
    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Pictures:
    """Pictures of which nothing is left: their names, and the 8-bit values between which all of theirs lie."""

    names: tuple[str, ...]
    lowest: int
    highest: int


@dataclass(frozen=True)
class Summary:
    """A whole set.

    Attributes:
        dataset: name of the set.
        classes: class names, id = position.
        train_split, eval_split: names of the splits to fit on and to score.
        splits: each split.
        conversions: how many images needed which conversion.
        raw: pixels of each raw value of the masks.
        empty: pictures that show nothing, by what is wrong with them (`patchbank.datasets.contrast`).
        in_train: names of scored pictures that the train split has, too; none of a set without classes.
        copies: names of other scored pictures of which the train split has a copy (`patchbank.datasets.overlap`).
    """

    dataset: str
    classes: tuple[str, ...]
    train_split: str
    eval_split: str
    splits: Mapping[str, SplitSummary]
    conversions: Mapping[str, int]
    raw: Mapping[int, int] = field(default_factory=dict)
    empty: Mapping[str, Pictures] = field(default_factory=dict)
    in_train: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for `check.json`."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Numbers of images and conversions, one line each."""
        counts = ", ".join(f"{name} {split.images}" for name, split in self.splits.items())
        lines = [f"{counts} images, {'labelled' if self.classes else 'without labels'}"]
        if self.conversions:
            done = ", ".join(f"{name} ({count})" for name, count in sorted(self.conversions.items()))
            lines.append(f"converted: {done}")
        return lines

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


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
