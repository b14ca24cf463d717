"""Stage `extract`: run the frozen encoder once over the views of every image and store what it says.

Decoding and resizing happen in worker processes, the forward pass in this one, checksums and writing in a thread
beside it. Shards that are complete already (of this record, or of an older one with the same content and ids) are
kept; an interrupted extraction repeats at most one shard per job. What shapes values stands in `patchbank.bank.encode`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from patchbank.backbones.encoder import Precision
from patchbank.backbones.vit import FrozenViT
from patchbank.bank.encode import Pictures, encode_rows, image_views, row_shapes
from patchbank.bank.finish import pointed, present
from patchbank.bank.format import bank_folder, content_hash, cut, row_bytes, shard_name
from patchbank.bank.record import make_record
from patchbank.bank.writer import ShardWriter
from patchbank.datasets.images import load_image
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import check_space, read_json, write_json
from patchbank.memory import release
from patchbank.progress import track
from patchbank.threads import available
from patchbank.views.base import EncodingRecipe, RecipeProtocol, SideFiles, make_recipe
from patchbank.views.fields import Shapes
from patchbank.weights.spec import BackboneSpec

LOG = logging.getLogger(__name__)
MAX_WORKERS = 16
"""Decoding processes at most, beside a GPU."""


@dataclass(frozen=True)
class ExtractSettings:
    """How a bank is made.

    Attributes:
        recipe: name of the recipe.
        recipe_settings: its settings (size, draws, ...).
        precision: of the forward pass.
        dtype: of the stored values, ``float16`` or ``float32``.
        images_per_shard: upper bound of the mean number of images in a shard.
        batch_tokens: patch tokens per forward pass; the one knob for memory.
    """

    recipe: str
    recipe_settings: Mapping[str, Any] = field(default_factory=dict)
    precision: Precision = "float32"
    dtype: str = "float16"
    images_per_shard: int = 128
    batch_tokens: int = 8192


@dataclass(frozen=True)
class ExtractJob:
    """One part of a bank's shards (default all of them).

    Attributes:
        manifest: output of the manifest stage.
        split: which images.
        spec: the encoder.
        weights, provenance: outputs of the weights stage.
        settings: recipe, precision, storage.
        bank_root: where banks live.
        out: a small json that says what was done: the bank's folder and its record.
        part: (index, number) of this job among those that share the bank.
        threads: CPU threads given to this job, for the number of decoding workers.
    """

    manifest: Path
    split: str
    spec: BackboneSpec
    weights: Path
    provenance: Path
    settings: ExtractSettings
    bank_root: Path
    out: Path
    part: tuple[int, int] = (0, 1)
    threads: int | None = None


@dataclass(frozen=True)
class ShardRows:
    """What the rows of some shards are made from.

    Attributes:
        paths: id -> image file.
        vit: the encoder.
        recipe: the views.
        shapes: of a row (`row_shapes`).
        content: hash of what shapes a row.
    """

    paths: Mapping[str, Path]
    vit: FrozenViT
    recipe: RecipeProtocol
    shapes: Shapes
    content: str


class ImageViews(Dataset[Pictures | str]):
    """All draws of one image: pixels (draws, V, H, W, 3), boxes (draws, V, 4), flip (draws, V).

    An image that cannot be read comes back as the sentence that says why, because an exception would reach the main
    process wrapped in a worker's traceback.
    """

    def __init__(self, paths: Mapping[str, Path], recipe: RecipeProtocol) -> None:
        self._paths, self._recipe = dict(paths), recipe

    def __getitem__(self, image_id: Any) -> Pictures | str:
        try:
            image = load_image(self._paths[image_id])
        except UserError as error:
            return str(error)
        return image_views(self._recipe, image, image_id)


def extract(job: ExtractJob) -> None:
    """Fill one part of a bank's shards.

    Raises:
        UserError: when the disk is too small, an image cannot be read, or a value cannot be stored.
    """
    images, settings = Manifest.load(job.manifest), job.settings
    paths = {entry.id: images.root / entry.image for entry in images.entries(job.split)}
    vit = FrozenViT(job.spec, job.weights, precision=settings.precision)
    recipe = make_recipe(settings.recipe, settings.recipe_settings, vit.patch)
    sha256, storage = read_json(job.provenance)["sha256"], (settings.precision, settings.dtype)
    record = make_record(images, job.split, vit, sha256, recipe, *storage, settings.images_per_shard)
    folder, content = bank_folder(job.bank_root, record), content_hash(record)
    parts = cut(list(paths), record["shards"])
    wanted = np.array_split(np.arange(len(parts)), job.part[1])[job.part[0]].tolist()
    todo = {i: parts[i] for i in wanted if parts[i] and not present(folder, shard_name(i), record, parts[i])}
    if todo:
        rows = ShardRows(paths, vit, recipe, row_shapes(vit, recipe, np.dtype(settings.dtype)), content)
        samples = sum(len(ids) for ids in todo.values()) * recipe.draws
        way_out = "free some space, point bank_root to a larger disk, or lower draws"
        check_space(folder, samples * row_bytes(rows.shapes), way_out)
        LOG.info("%s: %d of %d shards to compute, %d samples", folder, len(todo), len(wanted), samples)
        for i in todo:  # what a kill left behind
            for left in folder.glob(f".{Path(shard_name(i)).stem}.*.tmp.h5"):
                left.unlink()
        try:
            fill(folder, todo, rows, settings.batch_tokens, job.threads)
        except OSError as error:
            raise UserError(
                f"Extraction into {folder} failed ({error}); complete shards are kept, run again."
            ) from error
    if isinstance(recipe, SideFiles):
        recipe.beside(folder, vit, content)
    write_json(job.out, {"folder": pointed(folder, job.out), "record": record})


def fill(
    folder: Path, parts: Mapping[int, Sequence[str]], rows: ShardRows, batch_tokens: int, threads: int | None = None
) -> None:
    """Compute shards and write them.

    Args:
        folder: the bank's folder.
        parts: shard index -> sorted ids.
        rows: what their rows are made from.
        batch_tokens: patch tokens per forward pass.
        threads: CPU threads of this job, for the number of decoding workers.
    """
    recipe = rows.recipe
    h, w = rows.vit.grid(*recipe.size)
    least = recipe.batch_images if isinstance(recipe, EncodingRecipe) else 1
    size = max(least, batch_tokens // (recipe.draws * recipe.views * h * w))
    batches = [(shard, list(ids[i : i + size])) for shard, ids in parts.items() for i in range(0, len(ids), size)]
    loaded = zip(batches, _loader([ids for _, ids in batches], rows, threads), strict=True)
    current = -1
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        shard_stack = stack.enter_context(ExitStack())
        pending: Future[None] | None = None
        for (shard, ids), batch in track(loaded, f"extract {folder.name}", "batch", len(batches)):
            if isinstance(batch, str):
                raise UserError(batch)
            fields = encode_rows(rows.vit, recipe, batch, batch_tokens)
            if pending is not None:
                pending.result()
            if shard != current:
                shard_stack.close()
                release()
                samples = len(parts[shard]) * recipe.draws
                path = folder / shard_name(shard)
                writer = shard_stack.enter_context(ShardWriter(path, rows.content, samples, rows.shapes))
                current = shard
            pending = pool.submit(writer.write, [i for i in ids for _ in range(recipe.draws)], fields)
        if pending is not None:
            pending.result()


def _loader(batches: Sequence[Sequence[str]], rows: ShardRows, threads: int | None) -> DataLoader[Pictures | str]:
    """Views of the images of each batch, decoded in worker processes."""
    cuda = rows.vit.device.type == "cuda"
    workers = max(1, min(MAX_WORKERS, (threads or available()) - 1)) if cuda else 1
    return DataLoader(
        ImageViews(rows.paths, rows.recipe),
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=min(workers, len(batches)),
        pin_memory=cuda,
        worker_init_fn=_single_thread,
        collate_fn=_stack,
        multiprocessing_context="fork",  # others would import the calling script again
    )


def _stack(samples: list[Pictures | str]) -> Pictures | str:
    """Stack the images of a batch; one that cannot be read stands for all."""
    good = [sample for sample in samples if not isinstance(sample, str)]
    if len(good) < len(samples):
        return next(sample for sample in samples if isinstance(sample, str))
    pixels, boxes, flip = (torch.stack(parts) for parts in zip(*good, strict=True))
    return pixels, boxes, flip


def _single_thread(_worker: int) -> None:
    torch.set_num_threads(1)
