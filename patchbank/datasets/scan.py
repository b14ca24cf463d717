"""From a dataset on disk to a manifest: every image and mask is decoded once, and every bad file found at once.

Input: a `DatasetSpec`. Output: a `Manifest` with a `Summary`, or one `UserError` that lists all problems in the order
of the listing: missing, empty, truncated, unknown or oversized files, frames of animations, colour or lossy masks,
sizes that do not agree, raw values that the label map does not know, names given twice. Nothing is dropped silently;
conversions that are safe (`patchbank.datasets.images`) are counted in the summary. A mask or instance map that is not
there is no problem but leaves its image unlabelled, which is counted and named; only the split that is scored must have
one (`patchbank.datasets.layouts`).

Decoding runs in worker processes; a line of text is kept of each file, never pixels. Usable files are remembered
(`patchbank.datasets.remembered`), so that a second scan costs one `stat` a file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from patchbank.datasets.depth import Treatment
from patchbank.datasets.dialects import numbering
from patchbank.datasets.directions import Directions
from patchbank.datasets.labels import NOT_IN_MAP, UNKNOWN, describe_unknown, unknown_values
from patchbank.datasets.layouts import Item, Listing, is_absent
from patchbank.datasets.listing import by_reason, printable, relative, state_of, told
from patchbank.datasets.manifest import Entry, Manifest, find
from patchbank.datasets.notes import depth_notes, notes, refusal
from patchbank.datasets.overlap import Overlap, overlap
from patchbank.datasets.probe import Kind, Probe, probe
from patchbank.datasets.remembered import Remembered
from patchbank.datasets.spec import DatasetSpec
from patchbank.datasets.summary import Summary
from patchbank.datasets.tally import Tally
from patchbank.datasets.workers import in_order
from patchbank.errors import UserError, raise_problems
from patchbank.progress import track
from patchbank.threads import available

KINDS: tuple[Kind, Kind, Kind] = ("image", "mask", "instances")
"""The kind of each place of an `Item`."""

FIRST = 20
"""Names in `check.json` of what was left out for one reason."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Scan:
    """What a scan without problems found; no manifest where only headers were read."""

    manifest: Manifest | None
    summary: Summary
    notes: tuple[str, ...]
    left_out: Mapping[str, Sequence[str]]
    """Names of what the set's folders hold beside it, by reason."""

    def check(self) -> dict[str, Any]:
        """Plain values for `check.json`: the summary, what of it is worth a sentence, and what was left out."""
        left_out = {why: {"count": len(names), "first": list(names[:FIRST])} for why, names in self.left_out.items()}
        return {**self.summary.to_json(), "notes": list(self.notes), "left_out": left_out}


class _File(NamedTuple):
    """One file of an item before it is read: `name` is relative to the root, `state` as `state_of` says."""

    kind: Kind
    path: Path
    name: str
    state: str
    known: bool


def scan(spec: DatasetSpec, workers: int | None = None, log: Log | None = None, memory: Path | None = None) -> Manifest:
    """The manifest of `spec`; see `examine`."""
    manifest = examine(spec, workers, log, memory).manifest
    assert manifest is not None
    return manifest


def examine(
    spec: DatasetSpec,
    workers: int | None = None,
    log: Log | None = None,
    memory: Path | None = None,
    quick: bool = False,
) -> Scan:
    """Decode every file of `spec`; make its manifest and say what the set consists of.

    Args:
        spec: the dataset.
        workers: processes that decode; default = CPUs of this process. The result does not depend on it.
        log: takes one line of text at a time (numbers of images, conversions, what is left out).
        memory: folder for what scans remember; None = nothing is remembered. The result does not depend on it.
        quick: of files that are not remembered read the header only; no manifest, no class histogram.

    Raises:
        UserError: the tree is missing or incomplete, any file cannot be used (all of them are listed), or 255 seems
            to be a class.
    """
    listing = find(spec)
    for text in told(listing.left_out, spec.root):
        _say(log, f"{spec.name}: left out: {text}")
    lut = spec.lut()
    known = frozenset([-1, *(raw for raw, label in enumerate(lut) if label != UNKNOWN)])
    remembered = Remembered(memory, spec.root, spec.treatment)
    _say(log, remembered.note)
    splits, tally = _splits(listing), Tally(spec, histogram=not quick)
    entries: dict[str, list[Entry]] = {split: [] for split in listing}
    problems, bad = list(_repeated(spec, listing)), 0
    bands: dict[str, str] = {}
    raw: Counter[int] = Counter()
    try:
        files = [_files(spec.root, item, remembered) for item in splits]
        probed = _probes(files, remembered, spec.treatment, quick, workers or available())
        shown = track(probed, f"scan {spec.name}", "image", len(splits))
        for item, names, probes in zip(splits, files, shown, strict=True):
            for value, pixels in probes["mask"].values if "mask" in probes else ():
                raw[value] += pixels
            wrong = list(_problems(names, probes, lut, known)) or list(_other_bands(spec, names, probes, bands))
            problems += wrong
            if wrong:
                bad += 1
                continue
            expected = {kind for kind, path in zip(KINDS, item, strict=True) if path is not None}
            tally.add(splits[item], printable(names[0].name), probes, expected - probes.keys())
            for split in splits[item] if not quick else ():
                entries[split].append(_entry(names, probes))
    finally:
        remembered.save()
    raise_problems(
        f"{spec.name}: {bad} of {len(splits)} images cannot be used ({len(problems)} problems)",
        problems,
        _advice(spec, problems, numbering(spec, raw)),
    )
    depth = spec.treatment.over(tally.depths) if tally.depths else None
    seen = _overlap(spec, listing, files)
    summary, said = _summed_up(spec, tally, depth, seen, log)
    manifest = None if quick else _manifest(spec, lut, entries, depth, seen)
    return Scan(manifest, summary, said, by_reason(listing.left_out, spec.root))


def _summed_up(
    spec: DatasetSpec, tally: Tally, depth: Treatment | None, seen: Overlap, log: Log | None
) -> tuple[Summary, tuple[str, ...]]:
    """What the set consists of, and the notes on it; `UserError` where 255 seems to be a class."""
    listed, copies = (
        tuple(printable(relative(spec.root, path)) for path in paths) for paths in (seen.listed, seen.copies)
    )
    summary = replace(tally.summary(), in_train=listed, copies=copies)
    if reason := refusal(spec, summary):
        raise UserError(reason)
    for line in summary.lines():
        _say(log, f"{spec.name}: {line}")
    return summary, (*notes(spec, summary), *depth_notes(depth, len(tally.depths)))


def _overlap(spec: DatasetSpec, listing: Listing, files: Sequence[Sequence[_File]]) -> Overlap:
    """Scored pictures that are pictures of the train split, too; of a set without classes nothing is scored."""
    if not spec.classes:
        return Overlap()
    sizes = {item[0].path: int(item[0].state.partition(" ")[0]) for item in files}
    train, scored = (
        {image: sizes[image] for image, *_ in listing[split]} for split in (spec.train_split, spec.eval_split)
    )
    return overlap(train, scored)


def _splits(listing: Listing) -> dict[Item, list[str]]:
    """The splits of every item, because a file that stands in several is decoded once."""
    splits: dict[Item, list[str]] = {}
    for split, listed in listing.items():
        for item in dict.fromkeys(listed):
            splits.setdefault(item, []).append(split)
    return splits


def _files(root: Path, item: Item, remembered: Remembered) -> list[_File]:
    """The files of an item and whether they are remembered; of masks and instance maps those that are there."""
    files = []
    for kind, path in zip(KINDS, item, strict=True):
        state = "" if path is None else state_of(path)
        if path is not None and (state or kind == "image" or not is_absent(path)):
            name = relative(root, path)
            files.append(_File(kind, path, name, state, remembered.knows(kind, name, state)))
    return files


def _probes(
    items: list[list[_File]],
    remembered: Remembered,
    treatment: Treatment,
    quick: bool,
    workers: int,
) -> Iterator[dict[Kind, Probe]]:
    """The probes of each item, from memory or from the disk, in the order of `items`."""
    tasks = [unknown for files in items if (unknown := [file for file in files if not file.known])]
    fresh = in_order(partial(_read, quick=quick, treatment=treatment), tasks, workers)
    for files in items:
        read = iter(next(fresh) if any(not file.known for file in files) else ())
        probes = {f.kind: remembered.recall(f.kind, f.name) if f.known else next(read) for f in files}
        for file in files if not quick else ():
            if not file.known:
                remembered.keep(file.kind, file.name, file.state, probes[file.kind])
        yield probes


def _read(files: list[_File], quick: bool, treatment: Treatment) -> list[Probe]:
    return [
        Probe("a list names it, but it leads out of the set's folder")
        if file.name.startswith("/") or ".." in file.name.split("/")
        else probe(file.kind, file.path, printable(file.name), quick, treatment)
        for file in files
    ]


def _problems(files: list[_File], probes: Mapping[Kind, Probe], lut: list[int], known: frozenset[int]) -> Iterator[str]:
    """What is wrong with one item; each sentence names the file relative to the root. `known`: values `lut` takes."""
    misnamed = next((file.name for file in files if file.name != printable(file.name)), None)
    if misnamed is not None:
        yield f"{printable(misnamed)}: name is not UTF-8; rename it"
    image = probes["image"]
    for file in files:
        probe, name = probes[file.kind], printable(file.name)
        if probe.problem:
            yield f"{name}: {probe.problem}"
            continue
        if not image.problem and (probe.width, probe.height) != (image.width, image.height):
            same = (probe.height, probe.width) == (image.width, image.height)
            turned = "; the image is turned by its EXIF orientation, the mask is not" if same else ""
            yield f"{name}: is {probe.width}x{probe.height}, but its image is {image.width}x{image.height}{turned}"
        if not known.issuperset(value for value, _ in probe.values):  # which is quicker where there are many masks
            unknown = unknown_values(np.array([value for value, _ in probe.values], np.int64), lut)
            yield f"{name}: {describe_unknown(unknown, lut)}"


def _other_bands(
    spec: DatasetSpec, files: list[_File], probes: Mapping[Kind, Probe], known: dict[str, str]
) -> Iterator[str]:
    """What is wrong with an image whose bands are not those of the set's first, in `known` by kind."""
    found = probes["image"].depth
    if found is None or not isinstance(spec.treatment.bands, Directions):
        return
    name, kind = printable(files[0].name), found[0]
    known.setdefault(kind, name)
    first, where = next(iter(known.items()))
    if kind != first:
        (dtype, _, count), (of, _, needed) = kind.rpartition("x"), first.rpartition("x")
        yield (
            f"{name}: has {count} bands of {dtype}, and {where} has {needed} of {of}; `bands: pca` finds the "
            "directions of one kind of bands"
        )


def _advice(spec: DatasetSpec, problems: list[str], numbers: str) -> str:
    """The way out: `numbers` for masks that hold other values than the label map, repair for the others."""
    if not numbers:
        return f"Repair these files below {spec.root}, or take them out of the set."
    others = any(NOT_IN_MAP not in problem for problem in problems)
    return numbers + (f" Repair the other files below {spec.root}, or take them out of the set." if others else "")


def _entry(files: list[_File], probes: Mapping[Kind, Probe]) -> Entry:
    names = {file.kind: file.name for file in files}
    digests = [probes[kind].digest for kind in KINDS[1:] if kind in probes]
    image = probes["image"]
    labels = hashlib.sha256("".join(digests).encode()).hexdigest()[:16]
    paths = (names["image"], names.get("mask"), names.get("instances"))
    return Entry(image.digest, *paths, image.width, image.height, labels)


def _manifest(
    spec: DatasetSpec, lut: list[int], entries: Mapping[str, list[Entry]], depth: Treatment | None, seen: Overlap
) -> Manifest:
    copies = {relative(spec.root, path) for path in seen.copies}
    return Manifest(
        dataset=spec.name,
        root=spec.root,
        classes=spec.classes,
        colours=spec.colours,
        lut=lut,
        splits={split: tuple(sorted(listed, key=lambda entry: entry.id)) for split, listed in entries.items()},
        train_split=spec.train_split,
        eval_split=spec.eval_split,
        things=spec.things,
        label_rule=spec.label_rule,
        depth=depth,
        copies=tuple(sorted(entry.id for entry in entries[spec.eval_split] if entry.image in copies)),
    )


def _repeated(spec: DatasetSpec, listing: Listing) -> Iterator[str]:
    """Images that one split names more than once."""
    for split, items in listing.items():
        for path, count in Counter(item[0] for item in items).items():
            if count > 1:
                yield f"{printable(relative(spec.root, path))}: the list of split {split!r} names it {count} times"


def _say(log: Log | None, note: str) -> None:
    if log is not None and note:
        log(note)
