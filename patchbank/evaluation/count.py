"""Stage `count`: compare one prediction file with the labels, once, and store the sparse pixel counts.

Inputs: a prediction file (`patchbank.predictions`), the manifest of its dataset, a preprocessing variant.
Output: a counts file (`patchbank.evaluation.counts`) with every variant of the prediction file.

Labels come from the file of stage `truth` (`patchbank.evaluation.truth_file`), or from the masks. Worker threads are
used and not processes: decoding releases Python's lock, nothing has to be pickled, and a Snakemake script need not be
importable by its children. Predictions are read block by block in the main thread, so memory does not grow with the
number of images (except by the counts themselves). The result does not depend on the number of workers.
An image without a mask has no counts. Counts of instances (`label_kind`) are a file of their own, made by the same
stage for protocols that need them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.datasets import Entry, Manifest
from patchbank.errors import UserError, raise_problems
from patchbank.evaluation import postprocessing
from patchbank.evaluation.counts import (
    Counts,
    CountsFile,
    Ints,
    LabelKind,
    Upsample,
    count_image,
    count_instances,
    mean_used_segments,
    save_counts,
)
from patchbank.evaluation.postprocessing import PostProcessing
from patchbank.evaluation.preprocessing import SOFT
from patchbank.evaluation.soft import soft_assignments
from patchbank.evaluation.truth_file import Asked, Compared, Truth, decode
from patchbank.left_out import CannotBeMade
from patchbank.predictions import MAX_SCORES, PredictionReader, check_origin
from patchbank.progress import track
from patchbank.refinement.crf import DenseCRF, TookTooLong
from patchbank.threads import available

LOG = logging.getLogger(__name__)
BLOCK = 16
Triple = tuple[Ints, Ints, Ints]
Soften = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Refine = Callable[[NDArray[Any], Image.Image, tuple[int, int]], NDArray[np.int64]]
"""Ids (h, w) of patches, an image and a size (H, W) -> ids (H, W) of pixels."""
Small = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def count_predictions(
    prediction_path: str | Path,
    manifest: Manifest,
    out_path: str | Path,
    preprocessing: str,
    workers: int | None = None,
    labels: LabelKind | Truth = "class",
    postprocess: str = "",
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Count all variants of a prediction file and write the counts file.

    Args:
        prediction_path: the prediction file.
        manifest: manifest of the same dataset; its split is the one that the prediction's record names.
        out_path: counts file to write.
        preprocessing: name of a preprocessing variant.
        workers: threads (default: the CPUs that are available).
        labels: compare with class labels or with instance ids of the masks, or with the ones of a file; masks are
            decoded where it holds other ones (`Truth.fits`).
        postprocess: an option of `patchbank.evaluation.postprocessing`, or none.
        origin: what the prediction's record has to say (`patchbank.predictions.check_origin`).

    Raises:
        UserError: predictions of another method, seed or settings, an image of the prediction is not in the manifest,
            an unknown preprocessing, or a bad mask.
        CannotBeMade: instances are asked for and no image has any, or post-processing cannot be done.
    """
    with PredictionReader(prediction_path) as reader, DenseCRF() as crf:
        check_origin(prediction_path, reader.record, origin or {})
        label_kind = labels.asked.label_kind if isinstance(labels, Truth) else labels
        entries = _entries_of(reader, manifest, label_kind)
        option, late = postprocessing.named(postprocess), list[str]()
        refine = _refinement(postprocess, crf) if option.refined_at else None
        softly, asked = _upsampling(reader, preprocessing, option)
        rules: dict[str, Upsample] = {
            # above MAX_SCORES only the argmax is stored, and an argmax cannot be interpolated
            name: "bilinear" if asked == "bilinear" and k <= MAX_SCORES else "nearest"
            for name, k in reader.variants.items()
        }
        at_input, size = option.refined_at == "input", reader.record.input_size
        read = _labels(manifest, labels, Asked(preprocessing, label_kind, size))
        how = _Counting(manifest, size, reader.variants, rules, label_kind, read, refine, at_input, late)
        counts = _count_entries(reader, entries, how, softly, workers or available())
        labelled = sum(entry.mask is not None for entry in entries)
        if late and all(late.count(name) == labelled for name in counts):
            raise CannotBeMade(f"the dense CRF took over {crf.limit:.0f} s on each of {labelled} images; choose pamr.")
        variants = {
            name: _join(reader, triples, reader.variants[name], manifest, preprocessing, label_kind)
            for name, triples in counts.items()
        }
        without = "bilinear masks and the CRF, {} images without it (over {:.0f} s)"
        said = {
            name: without.format(late.count(name), crf.limit) if name in late else _note(rules[name], asked)
            for name in variants
        }
        noted = {name: replace(counts, upsample=rules[name], note=said[name]) for name, counts in variants.items()}
        save_counts(out_path, noted, reader.record.oracle)


def summarise(path: Path) -> dict[str, Any]:
    """Facts of a counts file: how many segments, or of the fewest clusters, an image uses on labelled pixels.

    Returns:
        ``images``; ``used`` (as in the rows of a report; None where no pixel is labelled); for methods that predict
        segments also ``segments`` (K).
    """
    file = CountsFile(path)
    fewest = min(file.segments.values())
    used = [mean_used_segments(file[name]) for name, k in file.segments.items() if k == fewest]
    mean = float(np.mean(used))  # not a number where no pixel is labelled
    summary = {"images": len(file.images), "used": mean if np.isfinite(mean) else None}
    return summary | ({"segments": fewest} if "segments" in file else {})


def _upsampling(reader: PredictionReader, preprocessing: str, option: PostProcessing) -> tuple[Soften | None, Upsample]:
    """What is made of scores before they are upsampled, and the rule that is asked for."""
    # a variant of its own takes the softmax of all ids; post-processing gives no pixel to one without a patch
    soften = partial(soft_assignments, every_id=preprocessing in SOFT)
    softly = soften if not option.refined_at and (preprocessing in SOFT or option.upsample == "bilinear") else None
    return softly, "bilinear" if softly else option.upsample or reader.record.upsample


def _labels(manifest: Manifest, labels: LabelKind | Truth, asked: Asked) -> Callable[[Entry], Compared | None]:
    """What gives an image's labels: the file of them where it holds those, else its mask."""
    if isinstance(labels, Truth) and labels.fits(asked):
        return labels.of
    return partial(decode, manifest, asked=asked)


def _refinement(postprocess: str, crf: DenseCRF) -> Refine:
    """What makes ids of pixels from those of patches."""
    from patchbank.evaluation.refine import refined_ids  # here: no other count needs torch
    from patchbank.refinement.pamr import Rule, pamr_winners

    rules: dict[str, Rule] = {"pamr": pamr_winners, "crf": crf.of_labels}
    return partial(refined_ids, rule=rules[postprocess])


def _note(rule: Upsample, asked: Upsample) -> str:
    """Why another rule was used than was asked for, nothing where it was not."""
    return "" if rule == asked else f"{rule} instead of {asked}: above {MAX_SCORES} clusters no scores are stored"


def _entries_of(reader: PredictionReader, manifest: Manifest, label_kind: LabelKind) -> list[Entry]:
    known = {entry.id: entry for entry in manifest.entries(reader.record.split)}
    missing = [f"image {name}" for name in reader.images if name not in known]
    raise_problems(
        f"{manifest.dataset}: the predictions hold {len(missing)} images that split {reader.record.split!r} has not",
        missing,
        "Run the predict stage again.",
    )
    entries = [known[name] for name in reader.images]
    if label_kind == "instance" and not any(entry.instances for entry in entries):
        raise CannotBeMade(
            f"{manifest.dataset} has no instance maps in split {reader.record.split!r}, and protocol `objects` "
            "needs them; take it out of `protocols`."
        )
    return entries


def _read_grids(
    reader: PredictionReader, rules: Mapping[str, Upsample], softly: Soften | None, start: int, stop: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """One dict of grids (ids, scores, or what `softly` makes of them, by variant) for each image of the block."""
    read: dict[str, NDArray[Any]] = {}
    for name, rule in rules.items():
        scores = reader.scores(name, start, stop) if rule == "bilinear" else None
        if scores is None:
            read[name] = reader.labels(name, start, stop)
        else:
            read[name] = softly(scores) if softly else scores
    return ({name: grids[i] for name, grids in read.items()} for i in range(stop - start))


@dataclass(frozen=True)
class _Counting:
    """What is the same for all images; variants whose CRF took too long are added to `late`."""

    manifest: Manifest
    input_size: tuple[int, int]
    variants: Mapping[str, int]
    rules: Mapping[str, Upsample]
    label_kind: LabelKind
    labels: Callable[[Entry], Compared | None]
    refine: Refine | None
    at_input: bool
    late: list[str]


def _count_entry(entry: Entry, grids: Mapping[str, NDArray[Any]], how: _Counting) -> dict[str, Small]:
    """Entries (segment, klass, count) of one image for every variant; empty ones where it has no mask."""
    manifest, label_kind, refine = how.manifest, how.label_kind, how.refine
    compared = how.labels(entry)
    if compared is None:
        nothing = np.empty(0, np.int32)
        return dict.fromkeys(how.variants, (nothing, nothing, nothing))
    view, labels = compared.view, compared.labels
    image = manifest.image(entry) if refine else None
    counts: dict[str, Small] = {}
    for name, k in how.variants.items():
        grid = grids[name]
        if image is not None and refine is not None:
            try:
                grid = refine(grid, image, how.input_size if how.at_input else view.size)
            except TookTooLong:
                LOG.warning("%s: the CRF of %s took too long; it is counted without", entry.image, name)
                how.late.append(name)
        segments = view.segments(grid, how.rules[name])
        if label_kind == "instance":
            triple = count_instances(segments, labels, k)
        else:
            triple = count_image(segments, labels, k, len(manifest.classes))
        counts[name] = _small(triple)
    return counts


def _count_entries(
    reader: PredictionReader, entries: Sequence[Entry], how: _Counting, softly: Soften | None, workers: int
) -> dict[str, list[Small]]:
    """What `_count_entry` finds in every image, by variant, in the order of `entries`."""
    count_one = partial(_count_entry, how=how)
    counts: dict[str, list[Small]] = {name: [] for name in reader.variants}
    with ThreadPoolExecutor(workers) as pool:
        for start in track(list(range(0, len(entries), BLOCK)), f"count {reader.record.dataset}", "block"):
            block = entries[start : start + BLOCK]
            grids = _read_grids(reader, how.rules, softly, start, start + len(block))
            for triples in pool.map(count_one, block, grids):
                for name, triple in triples.items():
                    counts[name].append(triple)
    return counts


def _small(triple: Triple) -> Small:
    """The same entries in 32 bits, because those of all images wait in memory."""
    segment, klass, count = (part.astype(np.int32) for part in triple)
    return segment, klass, count


def _join(
    reader: PredictionReader,
    triples: list[Small],
    segments: int,
    manifest: Manifest,
    preprocessing: str,
    label_kind: LabelKind,
) -> Counts:
    if not triples:
        raise UserError("the prediction file holds no image; run the predict stage again.")
    segment, klass, count = (np.concatenate(parts) for parts in zip(*triples, strict=True))
    sizes = [len(triple[0]) for triple in triples]
    return Counts(
        images=tuple(reader.images),
        image=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
        segment=segment,
        klass=klass,
        count=count.astype(np.int64),
        segments=segments,
        classes=int(klass.max(initial=0)) + 1 if label_kind == "instance" else len(manifest.classes),
        preprocessing=preprocessing,
        label_kind=label_kind,
    )
