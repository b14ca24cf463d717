"""Stage `extract`: run the frozen encoder once over the views of every image and store what it says.

Decoding and resizing happen in worker processes, the forward pass in this one, checksums and writing in a thread
beside it. Shards that are complete already (of this record, or of an older one with the same content and ids) are
kept; an interrupted extraction repeats at most one shard per job.
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

from patchbank.backbones.tail import save_tail
from patchbank.backbones.vit import FrozenViT, Precision
from patchbank.bank.encode import encode, row_shapes
from patchbank.bank.finish import pointed, present
from patchbank.bank.format import bank_folder, content_hash, cut, row_bytes, row_fields, shard_name
from patchbank.bank.record import make_record
from patchbank.bank.writer import ShardWriter
from patchbank.datasets.images import load_image
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import check_space, read_json, write_json
from patchbank.memory import release
from patchbank.progress import track
from patchbank.threads import available
from patchbank.views.base import EncodingRecipe, RecipeProtocol, Shapes, make_recipe
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


Loaded = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class ImageViews(Dataset[Loaded | str]):
    """All draws of one image: pixels (draws, V, H, W, 3), boxes (draws, V, 4), flip (draws, V).

    An image that cannot be read comes back as the sentence that says why, because an exception would reach the main
    process wrapped in a worker's traceback.
    """

    def __init__(self, paths: Mapping[str, Path], recipe: RecipeProtocol) -> None:
        self._paths, self._recipe = dict(paths), recipe

    def __getitem__(self, image_id: Any) -> Loaded | str:
        try:
            image = load_image(self._paths[image_id])
        except UserError as error:
            return str(error)
        views = [self._recipe.make(image, image_id, draw) for draw in range(self._recipe.draws)]
        return (
            torch.from_numpy(np.stack([v.pixels for v in views])),
            torch.from_numpy(np.stack([v.boxes for v in views])),
            torch.from_numpy(np.stack([v.flip for v in views])),
        )


def extract(
    manifest: str | Path,
    split: str,
    spec: BackboneSpec,
    weights: str | Path,
    provenance: str | Path,
    settings: ExtractSettings,
    bank_root: str | Path,
    out: str | Path,
    part: tuple[int, int] = (0, 1),
    threads: int | None = None,
) -> None:
    """Fill one part of a bank's shards (default all of them).

    Args:
        manifest: output of the manifest stage.
        split: which images.
        spec: the encoder.
        weights, provenance: outputs of the weights stage.
        settings: recipe, precision, storage.
        bank_root: where banks live.
        out: a small json that says what was done: the bank's folder and its record.
        part: (index, number) of this job among those that share the bank.
        threads: CPU threads given to this job, for the number of decoding workers.

    Raises:
        UserError: when the disk is too small, an image cannot be read, or a value cannot be stored.
    """
    images = Manifest.load(manifest)
    entries = {entry.id: images.root / entry.image for entry in images.entries(split)}
    vit = FrozenViT(spec, weights, precision=settings.precision)
    recipe = make_recipe(settings.recipe, settings.recipe_settings, vit.patch)
    record = make_record(
        dataset=images.dataset,
        split=split,
        images=len(entries),
        manifest_fingerprint=images.fingerprint(split),
        spec=spec,
        block=vit.block,
        weights=read_json(provenance),
        recipe=recipe,
        precision=settings.precision,
        dtype=settings.dtype,
        images_per_shard=settings.images_per_shard,
    )
    folder = bank_folder(bank_root, record)
    content = content_hash(record)
    parts = cut(list(entries), record["shards"])
    wanted = np.array_split(np.arange(len(parts)), part[1])[part[0]].tolist()
    todo = [i for i in wanted if parts[i] and not present(folder, shard_name(i), content, parts[i])]
    if todo:
        shapes = row_shapes(vit, recipe, np.dtype(settings.dtype))
        samples = sum(len(parts[i]) for i in todo) * recipe.draws
        check_space(
            folder, samples * row_bytes(shapes), "free some space, point bank_root to a larger disk, or lower draws"
        )
        LOG.info("%s: %d of %d shards to compute, %d samples", folder, len(todo), len(wanted), samples)
        for i in todo:  # what a kill left behind
            for left in folder.glob(f".{Path(shard_name(i)).stem}.*.tmp.h5"):
                left.unlink()
        try:
            fill(folder, content, {i: parts[i] for i in todo}, entries, vit, recipe, shapes, settings, threads)
        except OSError as error:
            raise UserError(
                f"Extraction into {folder} failed ({error}); complete shards are kept, run again."
            ) from error
    if "last_values" in row_fields(record):
        save_tail(folder, vit, content)
    write_json(out, {"folder": pointed(folder, out), "record": record})


def fill(
    folder: Path,
    content: str,
    parts: Mapping[int, Sequence[str]],
    paths: Mapping[str, Path],
    vit: FrozenViT,
    recipe: RecipeProtocol,
    shapes: Shapes,
    settings: ExtractSettings,
    threads: int | None,
) -> None:
    """Compute shards and write them.

    Args:
        folder: the bank's folder.
        content: hash of what shapes a row.
        parts: shard index -> sorted ids.
        paths: id -> image file.
        vit: the encoder.
        recipe: the views.
        shapes: of a row (`row_shapes`).
        settings: batch size.
        threads: CPU threads of this job, for the number of decoding workers.
    """
    h, w = vit.grid(*recipe.size)
    least = recipe.batch_images if isinstance(recipe, EncodingRecipe) else 1
    size = max(least, settings.batch_tokens // (recipe.draws * recipe.views * h * w))
    batches = [(shard, list(ids[i : i + size])) for shard, ids in parts.items() for i in range(0, len(ids), size)]
    cuda = vit.device.type == "cuda"
    workers = max(1, min(MAX_WORKERS, (threads or available()) - 1)) if cuda else 1
    loader = DataLoader(
        ImageViews(paths, recipe),
        batch_sampler=[ids for _, ids in batches],
        num_workers=min(workers, len(batches)),
        pin_memory=cuda,
        worker_init_fn=_single_thread,
        collate_fn=_stack,
        multiprocessing_context="fork",  # others would import the calling script again
    )
    current = -1
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        shard_stack = stack.enter_context(ExitStack())
        pending: Future[None] | None = None
        loaded = zip(batches, loader, strict=True)
        for (shard, ids), batch in track(loaded, f"extract {folder.name}", "batch", len(batches)):
            if isinstance(batch, str):
                raise UserError(batch)
            pixels, boxes, flip = batch
            geometry = {"boxes": boxes.flatten(0, 1).numpy(), "flip": flip.flatten(0, 1).numpy()}
            fields = {**geometry, **encode(vit, recipe, pixels, settings.batch_tokens)}
            if pending is not None:
                pending.result()
            if shard != current:
                shard_stack.close()
                release()
                samples = len(parts[shard]) * recipe.draws
                writer = shard_stack.enter_context(ShardWriter(folder / shard_name(shard), content, samples, shapes))
                current = shard
            pending = pool.submit(writer.write, [i for i in ids for _ in range(recipe.draws)], fields)
        if pending is not None:
            pending.result()


def _stack(samples: list[Loaded | str]) -> Loaded | str:
    """Stack the images of a batch; one that cannot be read stands for all."""
    good = [sample for sample in samples if not isinstance(sample, str)]
    if len(good) < len(samples):
        return next(sample for sample in samples if isinstance(sample, str))
    pixels, boxes, flip = (torch.stack(parts) for parts in zip(*good, strict=True))
    return pixels, boxes, flip


def _single_thread(_worker: int) -> None:
    torch.set_num_threads(1)
