"""`patchbank segment`: pictures in, segments or classes of every pixel out, at each picture's own resolution.

Inputs: picture files and folders, a checkpoint, the encoder's weights, and segment clusters where ids are to mean the
same in every picture. Outputs: see `patchbank.inference.pictures`.

Threads read, decode and squash the next pictures, and name, enlarge and write the segments of the last ones, while this
one runs encoder and head; a bounded number of pictures waits in memory before and behind it. A file that cannot be
used, or whose outputs cannot be written, is reported and left out; only a full or read-only disk stops the others. The
same inputs give the same bytes on a CPU.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np
from PIL import Image

from patchbank.backbones.encoder import Precision
from patchbank.datasets.contrast import contrast
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import PLAIN, decode_file, open_raster
from patchbank.datasets.raster import raster_size
from patchbank.datasets.unusable import Unusable
from patchbank.errors import NO_ROOM, UserError, raise_problems
from patchbank.files import sweep
from patchbank.inference.encoder import Model
from patchbank.inference.folder import check_folder, make_folder
from patchbank.inference.inputs import Input, find_inputs
from patchbank.inference.models import Models
from patchbank.inference.naming import Naming
from patchbank.inference.pictures import GridSegments, PictureWriter, Upsample
from patchbank.inference.segmenter import SIZE, Prepared, Scored, Segmenter
from patchbank.inference.tiled import squashed_whole
from patchbank.inference.tokens import Size
from patchbank.methods.one_grid import OneGrid, check_grid
from patchbank.methods.shape import PictureModel
from patchbank.progress import track
from patchbank.threads import available
from patchbank.views.resize import input_size

T = TypeVar("T")
Sink = Callable[[str, Image.Image, GridSegments], None]


class Computer(Protocol):
    """What computes on pictures in three steps: `Segmenter`, and what else goes over files as it does."""

    @property
    def batch(self) -> int:
        """Pictures that are worked on together."""
        ...

    def prepare(self, image: Image.Image) -> Prepared:
        """What the encoder gets of a picture, in a thread."""
        ...

    def score(self, pictures: Sequence[Prepared]) -> list[Scored]:
        """What is said of each picture."""
        ...

    def name(self, scored: Scored) -> GridSegments:
        """What is made of that, in a thread."""
        ...


@dataclass(frozen=True)
class SegmentSettings:
    """How pictures are segmented.

    Attributes:
        size: pixels to which a whole picture is squashed, rounded to the patch; None is the size of the row's set, and
            `SIZE` where there is none.
        window: side in pixels of a sliding window over the picture at its own resolution; None squashes it whole.
        shift: how many times as dense a side the patch grid of a whole picture is (recipe `dense`); None is that of the
            row's predictions, and 1 where there are none, a window slides, or the model reads the encoder's block.
        scale: of the picture's sides before windows are cut.
        upsample: from the patch grid to pixels.
        soft: whether soft assignments are written too.
        precision: of the encoder.
        device: ``auto``, ``cpu``, ``cuda``...
    """

    size: Size | None = None
    window: int | None = None
    shift: int | None = None
    scale: float = 1.0
    upsample: Upsample = "bilinear"
    soft: bool = False
    precision: Precision = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse impossible values, all of them in one message."""
        sizes = () if self.size is None else (self.size,) if isinstance(self.size, int) else self.size
        given = [] if self.shift is None else [("--shift", self.shift)]
        given += [("--size", size) for size in sizes]
        given += [] if self.window is None else [("--window", self.window)]
        problems = [f"{name} is {value}, it must be at least 1" for name, value in given if value < 1]
        if self.size is not None and self.window is not None:
            problems.append("--window works at the picture's own resolution, so --size has no meaning beside it")
        if (self.shift or 1) > 1 and self.window is not None:
            problems.append("--window gathers tokens of the plain grid, so --shift has no meaning beside it")
        if not 0 < self.scale <= 1 or (self.scale != 1 and self.window is None):
            problems.append(f"--scale is {self.scale}, it must be above 0 and at most 1, and goes with --window")
        raise_problems("The settings cannot be used", problems)

    def shaping(self) -> dict[str, str | int | float | list[int] | None]:
        """What shapes the outputs, in values of JSON; a square is one number."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size or (SIZE, SIZE)
        size = None if self.window else height if height == width else [height, width]
        dense: dict[str, int | float] = {} if self.shift in (None, 1) else {"shift": self.shift or 1}
        if self.scale != 1:
            dense["scale"] = self.scale
        return {"size": size, "window": self.window, "upsample": self.upsample, "precision": self.precision, **dense}


def segment(
    paths: Sequence[str | Path],
    files: Models,
    out: str | Path,
    settings: SegmentSettings,
    report: Callable[[str], None] = print,
    note: Callable[[str], None] = print,
) -> tuple[int, list[str], Naming]:
    """Segment pictures and write the results.

    Args:
        paths: files and folders.
        files: what computes.
        out: folder to write to.
        settings: how.
        report: called with what is left out, when that happens: a text a folder, then one for every unusable file.
        note: called with one sentence on pictures that are done already, one on rasters that the set would have cut
            into tiles, one on labels that moved the checkpoint, and one for every picture of which its conversion to
            8-bit RGB leaves nothing to see.

    Returns:
        How many pictures have their outputs, the sentences about the others, and what ids mean.

    Raises:
        UserError: nothing can be segmented; found before anything is computed.
    """
    inputs = find_inputs(paths, out, report)
    segmenter, settings = open_segmenter(files, settings)
    vit, naming, treatment = segmenter.vit, segmenter.naming, files.treatment()
    if settings.window is None and (tile := files.tile()) is not None:
        size = settings.size or SIZE
        if sentence := squashed_whole(inputs, tile, size if isinstance(size, int) else max(size)):
            note(sentence)
    depth = {} if treatment is None else {"depth": treatment.to_json()}
    run = {**files.contents(vit.spec.name), **settings.shaping(), **depth}
    if oracle := segmenter.model.record.get("oracle"):
        note(f"labels of the {oracle} split moved what divides these pictures (oracle: {oracle}).")
        run["oracle"] = oracle
    sources = {one.name: one.path for one in inputs}
    writer = PictureWriter(make_folder(out), naming, settings.upsample, settings.soft, run, sources)
    waiting = check_folder(writer, inputs)
    sweep(file for one in inputs for file in writer.files(one.name).values())
    if done := len(inputs) - len(waiting):
        note(f"{done} of {len(inputs)} pictures are complete in {out} and stay as they are.")
    try:
        writer.write_legend()
        problems = segment_files(waiting, segmenter, writer, report, note, treatment or PLAIN)
    except OSError as error:
        raise UserError(f"Writing to {out} failed ({error}); complete files are kept, run again.") from error
    return len(inputs) - len(problems), problems, naming


def open_segmenter(files: Models, settings: SegmentSettings) -> tuple[Segmenter, SegmentSettings]:
    """What segments pictures, and the settings with the size and shift that it works at: by default those of its set.

    Raises:
        UserError: models that do not load or do not belong together, or settings that they cannot have.
    """
    model = files.model()
    by_block = isinstance(model, PictureModel) and model.reads_block
    if by_block and (settings.window or (settings.shift or 1) > 1):
        raise UserError(
            "Maps of gradients read a picture in one pass of its plain grid; leave --window and --shift out."
        )
    naming = files.naming(model)
    vit = files.encoder(model, settings.device, settings.precision)
    if settings.size is None and settings.window is None:
        settings = replace(settings, size=files.input_size() or SIZE)
    if settings.shift is None:
        plain = by_block or settings.window is not None
        settings = replace(settings, shift=1 if plain else _shift(files.input_size(), files.grid(), vit.patch))
    _check_grid(model, vit.patch, settings)
    return Segmenter(
        vit, model, naming, settings.size or SIZE, settings.window, settings.shift or 1, settings.scale
    ), settings


def _check_grid(model: Model, patch: int, settings: SegmentSettings) -> None:
    """Refuse pictures of other patches than a model has learned, before the first of them is read."""
    if not isinstance(model, OneGrid):
        return
    (h, w), shift = model.grid, settings.shift or 1
    if settings.window is not None:
        check_grid(model, None, "A sliding window", "leave --window out")
    height, width = input_size(settings.size or SIZE, patch)
    grid = (shift * height // patch, shift * width // patch)
    fitting = f"--size {h * patch // shift} gives as many" if h == w else "leave --size out and name the row by --row"
    check_grid(model, grid, f"A picture of {height}x{width} pixels", fitting)


def _shift(size: tuple[int, int] | None, grid: tuple[int, int] | None, patch: int) -> int:
    """How many times as dense a side as the patches of pictures of that size a grid of predictions is."""
    if size is None or grid is None:
        return 1
    plain = (size[0] // patch, size[1] // patch)
    shift = grid[0] // plain[0]
    return shift if shift > 1 and grid == (shift * plain[0], shift * plain[1]) else 1


def segment_files(
    inputs: Sequence[Input],
    segmenter: Computer,
    sink: Sink,
    report: Callable[[str], None] = print,
    note: Callable[[str], None] = print,
    treatment: Treatment = PLAIN,
) -> list[str]:
    """Segment files and hand the results to `sink`, in worker threads.

    Args:
        inputs: the files.
        segmenter: what computes.
        sink: called with name, picture and segments of every file that can be used.
        report: called with one sentence for every other file.
        note: called with one sentence for every picture of which its conversion leaves nothing to see.
        treatment: of deep pictures.

    Returns:
        Those sentences.

    Raises:
        OSError: the disk is full or read-only.
    """
    workers = max(1, min(8, available() - 1))
    problems: list[str] = []

    def refuse(problem: str) -> None:
        problems.append(problem)
        report(problem)

    with ThreadPoolExecutor(workers, "read") as readers, ThreadPoolExecutor(workers, "write") as writers:
        writing: deque[tuple[Input, Future[str | None]]] = deque()

        def finish() -> None:
            problem = _outcome(*writing.popleft())
            if problem is not None:
                refuse(problem)

        read = partial(_read, segmenter=segmenter, note=note, treatment=treatment)
        loaded = _ahead(readers, read, inputs, workers + segmenter.batch)
        for group in _groups(track(loaded, "segment", "picture", len(inputs)), segmenter.batch):
            for problem in (picture for _, picture in group if isinstance(picture, str)):
                refuse(problem)
            good = [(one, picture) for one, picture in group if not isinstance(picture, str)]
            try:
                scored = segmenter.score([picture for _, picture in good]) if good else []
            except Unusable as reason:  # of the one raster that windows slide over
                refuse(f"{good[0][0].path}: {reason}.")
                continue
            for (one, picture), scores in zip(good, scored, strict=True):
                writing.append((one, writers.submit(_write, one, picture.image, scores, segmenter, sink)))
                while len(writing) > workers:
                    finish()
        while writing:
            finish()
    return problems


def _outcome(one: Input, future: Future[str | None]) -> str | None:
    """What is wrong with a picture whose outputs were to be written, or None; `OSError` where the disk is full."""
    try:
        return future.result()
    except OSError as error:
        if error.errno in NO_ROOM or error.filename is None:  # of the disk, or of no one path
            raise
        return f"{one.path}: {error.filename2 or error.filename} cannot be written ({error.strerror})."
    except Unusable as reason:  # of a raster, which is read once more to be drawn
        return f"{one.path}: {reason}."


def _read(
    one: Input, segmenter: Computer, note: Callable[[str], None], treatment: Treatment
) -> tuple[Input, Prepared | str]:
    """The picture, or the sentence that says why there is none."""
    try:
        if isinstance(segmenter, Segmenter) and raster_size(one.path) is not None:
            # what reads pictures by rows, or resizes them, takes a raster for one
            return one, segmenter.prepare(cast(Image.Image, open_raster(one.path, treatment)))
        decoded = decode_file(one.path, treatment)
    except UserError as error:
        return one, str(error)
    except Unusable as reason:
        return one, f"{one.path}: {reason}."
    left = contrast(decoded)
    if left.problem:
        note(f"{one.path} is {left.problem} (8-bit values {left.lowest} to {left.highest}); its segments are of that.")
    return one, segmenter.prepare(decoded.image)


def _write(one: Input, image: Image.Image, scored: Scored, segmenter: Computer, sink: Sink) -> str | None:
    """Hand the segments to `sink`, or return the sentence that says why there are none."""
    if not np.isfinite(scored.scores).all():
        return f"{one.path}: the encoder's tokens are not finite numbers."
    sink(one.name, image, segmenter.name(scored))
    return None


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Input], T], items: Iterable[Input], waiting: int
) -> Iterator[T]:
    """Results of `function` in order, `waiting` of them computed ahead."""
    futures: deque[Future[T]] = deque()
    try:
        for item in items:
            futures.append(pool.submit(function, item))
            if len(futures) > waiting:
                yield futures.popleft().result()
        while futures:
            yield futures.popleft().result()
    finally:  # nothing is read that nobody waits for
        for future in futures:
            future.cancel()


def _groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
