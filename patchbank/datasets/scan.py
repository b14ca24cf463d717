"""From a dataset on disk to a manifest: every image and mask is decoded once, and every bad file found at once.

Input: a `DatasetSpec`. Output: a `Manifest`, or one `UserError` that lists all problems in the order of the listing:
missing, empty, truncated, unknown or oversized files, frames of animations, colour or lossy masks, sizes that do not
agree, raw values that the label map does not know, names given twice. Nothing is dropped silently; conversions that
are safe (`patchbank.datasets.images`) are counted in a note.

Decoding runs in worker processes started with `spawn`, in chunks of which a bounded number is in flight, so memory
does not grow with the set. The workers do not import the calling script, so that it needs no `__main__` guard.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from patchbank.datasets.images import Unusable, decode_image, decode_indices, read_bytes
from patchbank.datasets.labels import describe_unknown, unknown_values
from patchbank.datasets.layouts import Item, Listing
from patchbank.datasets.manifest import Entry, Manifest, find
from patchbank.datasets.spec import DatasetSpec
from patchbank.errors import UserError, raise_problems
from patchbank.progress import track
from patchbank.threads import available

CHUNK = 32
"""Items a task: large enough that passing tasks costs nothing, small enough that workers finish together."""
FEW = 256
"""Sets of at most this many items are read in this process; starting workers would take longer."""


@dataclass(frozen=True)
class _Result:
    """What the scan of one item found."""

    entry: Entry | None
    problems: tuple[str, ...]
    conversions: tuple[str, ...]


def scan(spec: DatasetSpec, workers: int | None = None, log: Callable[[str], None] | None = None) -> Manifest:
    """Decode every file of `spec` and make its manifest.

    Args:
        spec: the dataset.
        workers: processes that decode; default = CPUs of this process. The result does not depend on it.
        log: takes one line a note (conversions, counts).

    Raises:
        UserError: the tree is missing or incomplete, or any file cannot be used; all of them are listed.
    """
    listing = find(spec)
    items = list(dict.fromkeys(item for split in listing.values() for item in split))
    lut = spec.lut()
    results: dict[Item, _Result] = {}
    done = _run(spec.root, items, lut, workers or available())
    for item, result in zip(items, track(done, f"scan {spec.name}", "image", len(items)), strict=True):
        results[item] = result
    problems = [*_repeated(spec, listing), *(problem for item in items for problem in results[item].problems)]
    bad = sum(bool(result.problems) for result in results.values())
    raise_problems(
        f"{spec.name}: {bad} of {len(items)} images cannot be used ({len(problems)} problems)",
        problems,
        f"Repair or remove these files below {spec.root}, then run again.",
    )
    manifest = Manifest(
        dataset=spec.name,
        root=spec.root,
        classes=spec.classes,
        colours=spec.colours,
        lut=lut,
        splits={split: _entries(results, found) for split, found in listing.items()},
        train_split=spec.train_split,
        eval_split=spec.eval_split,
        things=spec.things,
        label_rule=spec.label_rule,
    )
    for note in _notes(manifest, results):
        if log is not None:
            log(note)
    return manifest


def scan_item(root: Path, item: Item, lut: list[int]) -> _Result:
    """Read and check one (image, mask, instances) triple; problems name the file relative to `root`."""
    problems: list[str] = []
    names = [None if path is None else path.relative_to(root).as_posix() for path in item]
    shown = [None if name is None else _printable(name) for name in names]
    if any(name != text for name, text in zip(names, shown, strict=True)):
        problems.append(f"{next(s for n, s in zip(names, shown, strict=True) if n != s)}: name is not UTF-8; rename it")
    size: tuple[int, int] | None = None
    content_id = ""
    conversions: tuple[str, ...] = ()
    try:
        data = read_bytes(item[0])
        content_id = hashlib.sha256(str(shown[0]).encode() + b"\0" + data).hexdigest()[:16]
        decoded = decode_image(data)
        size, conversions = decoded.image.size, decoded.conversions
    except Unusable as reason:
        problems.append(f"{shown[0]}: {reason}")
    labels = hashlib.sha256()
    for path, name, table in ((item[1], shown[1], lut), (item[2], shown[2], None)):
        if path is None:
            continue
        try:
            data = read_bytes(path)
            labels.update(data)
            problems.extend(f"{name}: {problem}" for problem in _indexed_problems(decode_indices(data), size, table))
        except Unusable as reason:
            problems.append(f"{name}: {reason}")
    if problems or size is None:
        return _Result(None, tuple(problems), ())
    entry = Entry(content_id, str(names[0]), names[1], names[2], *size, labels.hexdigest()[:16])
    return _Result(entry, (), conversions)


def _indexed_problems(raw: NDArray[Any], size: tuple[int, int] | None, lut: list[int] | None) -> Iterator[str]:
    """What is wrong with a decoded mask (`lut` given) or instance map of an image of `size` (width, height)."""
    height, width = raw.shape
    if size is not None and (width, height) != size:
        turned = "; the image is turned by its EXIF orientation, the mask is not" if (height, width) == size else ""
        yield f"is {width}x{height}, but its image is {size[0]}x{size[1]}{turned}"
    unknown = [] if lut is None else unknown_values(raw, lut)
    if lut is not None and unknown:
        yield describe_unknown(unknown, lut)


def _scan_chunk(root: Path, items: list[Item], lut: list[int]) -> list[_Result]:
    return [scan_item(root, item, lut) for item in items]


def _run(root: Path, items: list[Item], lut: list[int], workers: int) -> Iterator[_Result]:
    """Results in the order of `items`; at most two chunks a worker wait."""
    if workers <= 1 or len(items) <= FEW:
        for item in items:
            yield scan_item(root, item, lut)
        return
    chunks = iter([items[start : start + CHUNK] for start in range(0, len(items), CHUNK)])
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting: deque[Future[list[_Result]]] = deque()
        try:
            while True:
                with _without_main():
                    for chunk in islice(chunks, 2 * workers - len(waiting)):
                        waiting.append(pool.submit(_scan_chunk, root, chunk, lut))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError(
                f"A process that decodes images below {root} was killed, most likely for want of memory; run again "
                "with fewer cores."
            ) from None


@contextmanager
def _without_main() -> Iterator[None]:
    """Processes spawned within do not import the calling script again.

    They need nothing of it, and a script without a guard (Snakemake's are) would start its whole work once more.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _repeated(spec: DatasetSpec, listing: Listing) -> Iterator[str]:
    """Images that one split names more than once."""
    for split, items in listing.items():
        for path, count in Counter(item[0] for item in items).items():
            if count > 1:
                name = _printable(path.relative_to(spec.root).as_posix())
                yield f"{name}: the list of split {split!r} names it {count} times"


def _entries(results: dict[Item, _Result], items: list[Item]) -> tuple[Entry, ...]:
    found = (results[item].entry for item in items)
    return tuple(sorted((entry for entry in found if entry is not None), key=lambda entry: entry.id))


def _notes(manifest: Manifest, results: dict[Item, _Result]) -> Iterator[str]:
    counts = ", ".join(f"{split} {len(entries)}" for split, entries in manifest.splits.items())
    yield f"{manifest.dataset}: {counts} images, {'labelled' if manifest.labelled else 'without labels'}"
    done = Counter(name for result in results.values() for name in result.conversions)
    if done:
        yield f"{manifest.dataset}: converted: {', '.join(f'{name} ({done[name]})' for name in sorted(done))}"


def _printable(name: str) -> str:
    """`name` with bytes that are not UTF-8 written as escapes, so that it can be printed and logged."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
