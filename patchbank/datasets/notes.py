"""What of a set's summary a reader must know before any score, as sentences; and what must not be scored at all.

Input: the `Summary` of a scan. The sentences stand in `check.json`, in the log, in what `patchbank data check` prints,
and at the top of reports and pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from patchbank.datasets.depth import Treatment
from patchbank.datasets.dialects import Map, paste
from patchbank.datasets.dicom import MARK
from patchbank.datasets.directions import Directions
from patchbank.datasets.labels import IGNORE
from patchbank.datasets.spec import DatasetSpec
from patchbank.datasets.summary import SplitSummary, Summary

LARGE = 0.1
"""Share of ignored pixels that is worth a sentence, and above which 255 may well be a class."""
SHOWN = 8
"""Names in a sentence; `check.json` has all of them."""
DEEP_ADVICE = "Their values fill a small part of the 16-bit range; scale `percentile` uses the values that occur."


def notes(spec: DatasetSpec, summary: Summary) -> list[str]:
    """Sentences that end with a full stop, the most important first; none for a set without surprises."""
    sentences = [*_nowhere(spec, summary), *_in_train(summary)]
    for tell in (_unlabelled, _absent, _ignored, _unscored, _without_instances):
        sentences += _of_splits(summary, tell)
    for problem, pictures in summary.empty.items():
        subject = f"{_count(len(pictures.names), 'picture')} {_are(pictures.names)}"
        values = f"8-bit values {pictures.lowest} to {pictures.highest}"
        advice = f" {DEEP_ADVICE}" if "16 to 8 bits" in problem else ""
        sentences.append(f"{subject} {problem} ({values}): {_some(pictures.names)}.{advice}")
    return [*sentences, *_of_splits(summary, _published)]


def depth_notes(treatment: Treatment | None, count: int) -> list[str]:
    """What was done to the deep pictures of a set, `count` of them, in one sentence; none where there are none."""
    if treatment is None:
        return []
    whose = "over the set" if treatment.per == "set" else "of each picture"
    how = {
        None: f"black and white are the 2nd and 98th percentile {whose}",
        "percentile": f"black and white are the 2nd and 98th percentile {whose}",
        "minmax": f"black and white are the smallest and the largest value {whose}",
        "full": "black and white are the ends of the type's range",
        "window": f"black and white are {treatment.window}",
    }[treatment.scale]
    ranges = "; ".join(
        f"{kind.removesuffix(MARK).rpartition('x')[0]} {', '.join(f'{low:g} to {high:g}' for low, high in found)}"
        for kind, found in sorted(treatment.ranges.items())
    )
    if isinstance(treatment.bands, Directions):
        bands = f"{len(treatment.bands.mean)} bands of {treatment.bands.dtype}"
        how = f"red, green and blue are the principal directions of the set's {bands}, {how} along them"
        ranges = ranges.partition(" ")[2]  # values along directions have no type of the files
    has = "has" if count == 1 else "have"
    subject = f"{_count(count, 'picture')} {has} " + (
        "8-bit RGB made anew" if treatment.touches_bytes else "more than 8 bits, or other bands than grey or RGB"
    )
    if treatment.scale is None and any(kind.endswith(MARK) for kind in treatment.ranges):
        how += ", of DICOM files the window that they name"
    return [f"{subject}: {how}{f' ({ranges})' if ranges else ''}."]


def refusal(spec: DatasetSpec, summary: Summary) -> str:
    """Why a set must not be scored as it is configured, with the way out; "" for any other.

    255 means "ignored" by convention. Where nobody said so, it covers much of the masks, and a class that has a name
    has no pixel, then 255 most likely is that class, and every score would be of what is left.
    """
    absent, share = _absent_everywhere(summary), _share_of_255(summary)
    if spec.states_255 or not absent or share < LARGE:
        return ""
    return (
        f"{spec.name}: no pixel of any mask is {_some(absent)}, and {100 * share:.1f} % of all pixels have the value "
        f"255, which means 'ignored'. {_way_out(spec, summary)}"
    )


def _way_out(spec: DatasetSpec, summary: Summary) -> str:
    """What to write where 255 is a class, and where it is not."""
    absent, lut = _absent_everywhere(summary), spec.lut()
    known = [raw for raw in (spec.label_map or summary.raw) if 0 <= raw < len(lut) and lut[raw] not in (-1, IGNORE)]
    mapping: Map = {**{raw: spec.classes[lut[raw]] for raw in known}, **dict.fromkeys(spec.ignore, IGNORE)}
    return (
        f"If 255 is a class, write {paste({**mapping, IGNORE: absent[0]})}. If it does mean 'ignored', say so with "
        f"`{IGNORE}: {IGNORE}` in such a map."
    )


def _absent_everywhere(summary: Summary) -> list[str]:
    """Classes without a pixel in any mask; none where no mask was counted."""
    counted = [split for split in summary.splits.values() if split.pixels]
    return [name for name in summary.classes if counted and all(name in split.absent for split in counted)]


def _share_of_255(summary: Summary) -> float:
    return summary.raw.get(IGNORE, 0) / max(1, sum(summary.raw.values()))


def _nowhere(spec: DatasetSpec, summary: Summary) -> Iterator[str]:
    """The hint of `refusal` where 255 covers too little for one."""
    absent = _absent_everywhere(summary)
    if absent and 0 < _share_of_255(summary) < LARGE and not spec.states_255:
        yield f"No pixel of any mask is {_some(absent)}. {_way_out(spec, summary)}"


def _of_splits(summary: Summary, tell: Callable[[Summary, str, SplitSummary], str]) -> Iterator[str]:
    """What `tell` says of each split; splits of which it says the same share a sentence."""
    said: dict[str, list[str]] = {}
    for name, split in summary.splits.items():
        if text := tell(summary, name, split):
            said.setdefault(text, []).append(name)
    for text, names in said.items():
        yield f"{'Split' if len(names) == 1 else 'Splits'} {' and '.join(names)}: {text}"


def _unlabelled(summary: Summary, name: str, split: SplitSummary) -> str:
    count = split.without_mask
    if count == split.images and count:
        return "no image has a mask, so it is used without labels."
    if not count:
        return ""
    use = "left out of all scores" if name == summary.eval_split else "used without labels"
    verb = "has no mask and is" if count == 1 else "have no mask and are"
    return f"{count:,} of {_count(split.images, 'image')} {verb} {use}: {_some(split.named['without_mask'])}."


def _absent(summary: Summary, name: str, split: SplitSummary) -> str:
    if not split.absent or not any(split.pixels[:-1]):
        return ""
    one = len(split.absent) == 1
    return f"{'class' if one else 'classes'} {_some(split.absent)} {'has' if one else 'have'} no pixel."


def _ignored(summary: Summary, name: str, split: SplitSummary) -> str:
    if split.ignored is None or split.ignored < LARGE:
        return ""
    if split.ignored == 1:
        return "no pixel is labelled, all of them are ignored."
    return f"{100 * split.ignored:.1f} % of the masks' pixels are ignored."


def _unscored(summary: Summary, name: str, split: SplitSummary) -> str:
    if "unscored" not in split.named or split.ignored == 1:
        return ""
    return (
        f"{_count(split.unscored, 'image')} {_are(split.named['unscored'])} ignored as a whole: "
        f"{_some(split.named['unscored'])}."
    )


def _without_instances(summary: Summary, name: str, split: SplitSummary) -> str:
    if not split.without_instances:
        return ""
    named = split.named.get("without_instances")
    return (
        f"{split.without_instances:,} of {_count(split.images, 'image')} without an instance map, left out where "
        f"instances are compared{': ' + _some(named) if named else ''}."
    )


def _published(summary: Summary, name: str, split: SplitSummary) -> str:
    if split.published in (None, split.images):
        return ""
    return f"{_count(split.images, 'image')}, {split.published:,} are published."


def _in_train(summary: Summary) -> Iterator[str]:
    """That scored pictures are pictures of the train split, too."""
    names, scored = (*summary.in_train, *summary.copies), summary.splits[summary.eval_split].images
    if not names:
        return
    whose = "" if len(summary.copies) == len(names) else f" {len(summary.copies):,} of them"
    form = "a copy" if len(summary.copies) == 1 else "copies"
    copied = f",{whose} as {form} of equal bytes" if summary.copies else ""
    named = "" if len(names) == scored else f": {_some(names)}"
    yield (
        f"{len(names):,} of {_count(scored, 'scored image')} {_are(names)} in split {summary.train_split!r}, too"
        f"{copied}{named}. What is trained or fitted there, `fit: train` in a table, has seen them."
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more (check.json has all)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
