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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from patchbank.backbones.encoder import Precision
from patchbank.datasets.contrast import contrast
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import PLAIN, decode_file
from patchbank.errors import NO_ROOM, UserError, raise_problems
from patchbank.files import sha256_file
from patchbank.inference.encoder import WEIGHTS, load_encoder, load_model
from patchbank.inference.folder import check_folder, make_folder
from patchbank.inference.inputs import Input, find_inputs, set_treatment
from patchbank.inference.naming import Naming, dataset_ids, head_ids, own_segments
from patchbank.inference.pictures import DIGITS, GridSegments, PictureWriter, Upsample
from patchbank.inference.segmenter import SIZE, Prepared, Scored, Segmenter
from patchbank.methods import contract
from patchbank.methods.shape import TokenModel
from patchbank.progress import track
from patchbank.threads import available

T = TypeVar("T")
Sink = Callable[[str, Image.Image, GridSegments], None]


@dataclass(frozen=True)
class SegmentSettings:
    """How pictures are segmented.

    Attributes:
        size: side in pixels to which a whole picture is squashed, rounded to the patch; None is `SIZE`.
        window: side in pixels of a sliding window over the picture at its own resolution; None squashes it whole.
        shift: how many times as dense a side the patch grid of a whole picture is (recipe `dense`).
        upsample: from the patch grid to pixels.
        soft: whether soft assignments are written too.
        precision: of the encoder.
        device: ``auto``, ``cpu``, ``cuda``...
    """

    size: int | None = None
    window: int | None = None
    shift: int = 1
    upsample: Upsample = "bilinear"
    soft: bool = False
    precision: Precision = "float32"
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse impossible values, all of them in one message."""
        given = {"--size": self.size, "--window": self.window, "--shift": self.shift}
        problems = [
            f"{n} is {value}, it must be at least 1" for n, value in given.items() if value is not None and value < 1
        ]
        if self.size is not None and self.window is not None:
            problems.append("--window works at the picture's own resolution, so --size has no meaning beside it")
        if self.shift > 1 and self.window is not None:
            problems.append("--window gathers tokens of the plain grid, so --shift has no meaning beside it")
        raise_problems("The settings cannot be used", problems)

    def shaping(self) -> dict[str, str | int | None]:
        """What shapes the outputs, in values of JSON."""
        size = None if self.window else self.size or SIZE
        dense = {"shift": self.shift} if self.shift > 1 else {}
        return {"size": size, "window": self.window, "upsample": self.upsample, "precision": self.precision, **dense}


@dataclass(frozen=True)
class ModelFiles:
    """What computes, and what ids mean.

    Attributes:
        checkpoint: of a method that offers `infer.py`.
        weights: the encoder's weights, by default where the pipeline puts them.
        backbone: for a checkpoint that does not name its encoder.
        clusters: segment clusters; by default `clusters.npz` beside the checkpoint, where there is one.
        own_ids: keep ids inside each picture even where there are clusters.
    """

    checkpoint: str | Path
    weights: str | Path | None = None
    backbone: str | None = None
    clusters: str | Path | None = None
    own_ids: bool = False

    def used_clusters(self) -> str | Path | None:
        """The file of segment clusters that gives the ids, where one does."""
        beside = Path(self.checkpoint).with_name("clusters.npz")
        return None if self.own_ids else self.clusters or (beside if beside.is_file() else None)

    def naming(self, model: TokenModel) -> Naming:
        """What the ids of the model's segments mean."""
        clusters = self.used_clusters()
        if clusters is not None:
            return dataset_ids(clusters, model.dim)
        if not self.own_ids and contract.traits(str(model.record["method"])).kind == "classes":
            return head_ids(self.checkpoint, model.record, model.segments)
        return own_segments(model.segments)

    def contents(self, backbone: str) -> dict[str, str | None]:
        """Beginning of the SHA-256 of each file; `backbone` names the encoder."""
        weights = self.weights or WEIGHTS.format(name=backbone)
        files = {"checkpoint": self.checkpoint, "weights": weights, "clusters": self.used_clusters()}
        return {name: None if path is None else sha256_file(path)[:DIGITS] for name, path in files.items()}


def segment(
    paths: Sequence[str | Path],
    files: ModelFiles,
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
        note: called with one sentence for every picture of which its conversion to 8-bit RGB leaves nothing to see.

    Returns:
        How many pictures were written, the sentences about the others, and what ids mean.

    Raises:
        UserError: nothing can be segmented; found before anything is computed.
    """
    inputs = find_inputs(paths, out, report)
    model = load_model(files.checkpoint)
    naming = files.naming(model)
    vit = load_encoder(model, files.checkpoint, files.backbone, files.weights, settings.device, settings.precision)
    segmenter = Segmenter(vit, model, naming, settings.size or SIZE, settings.window, settings.shift)
    treatment = set_treatment(files.checkpoint)
    depth = {} if treatment is None else {"depth": treatment.to_json()}
    run = {**files.contents(vit.spec.name), **settings.shaping(), **depth}
    sources = {one.name: one.path for one in inputs}
    writer = PictureWriter(make_folder(out), naming, settings.upsample, settings.soft, run, sources)
    check_folder(writer, inputs)
    try:
        writer.write_legend()
        problems = segment_files(inputs, segmenter, writer, report, note, treatment or PLAIN)
    except OSError as error:
        raise UserError(f"Writing to {out} failed ({error}); complete files are kept, run again.") from error
    return len(inputs) - len(problems), problems, naming


def segment_files(
    inputs: Sequence[Input],
    segmenter: Segmenter,
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
            one, future = writing.popleft()
            try:
                problem = future.result()
            except OSError as error:
                if error.errno in NO_ROOM or error.filename is None:  # of the disk, or of no one path
                    raise
                problem = f"{one.path}: {error.filename2 or error.filename} cannot be written ({error.strerror})."
            if problem is not None:
                refuse(problem)

        read = partial(_read, segmenter=segmenter, note=note, treatment=treatment)
        loaded = _ahead(readers, read, inputs, workers + segmenter.batch)
        for group in _groups(track(loaded, "segment", "picture", len(inputs)), segmenter.batch):
            for problem in (picture for _, picture in group if isinstance(picture, str)):
                refuse(problem)
            good = [(one, picture) for one, picture in group if not isinstance(picture, str)]
            scored = segmenter.score([picture for _, picture in good]) if good else []
            for (one, picture), scores in zip(good, scored, strict=True):
                writing.append((one, writers.submit(_write, one, picture.image, scores, segmenter, sink)))
                while len(writing) > workers:
                    finish()
        while writing:
            finish()
    return problems


def _read(
    one: Input, segmenter: Segmenter, note: Callable[[str], None], treatment: Treatment
) -> tuple[Input, Prepared | str]:
    """The picture, or the sentence that says why there is none."""
    try:
        decoded = decode_file(one.path, treatment)
    except UserError as error:
        return one, str(error)
    left = contrast(decoded)
    if left.problem:
        note(f"{one.path} is {left.problem} (8-bit values {left.lowest} to {left.highest}); its segments are of that.")
    return one, segmenter.prepare(decoded.image)


def _write(one: Input, image: Image.Image, scored: Scored, segmenter: Segmenter, sink: Sink) -> str | None:
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
