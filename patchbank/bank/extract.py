"""Stage `extract`: run the frozen encoder once over the views of every image and store what it says.

How shards are computed stands in `patchbank.bank.fill`, what shapes their values in `patchbank.bank.encode`. Shards
that are complete already (of this record, or of an older one with the same content and ids) are kept, those that
another process computes are left to it (`patchbank.bank.claims`); an interrupted extraction repeats at most one shard
per job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchbank.backbones.vit import FrozenViT
from patchbank.bank.claims import ShardClaims
from patchbank.bank.coding import Coding
from patchbank.bank.coding_fit import described, fitted
from patchbank.bank.encode import row_shapes
from patchbank.bank.fill import ShardRows, fill_blocks
from patchbank.bank.finish import pointed
from patchbank.bank.format import bank_folder, content_hash, row_bytes
from patchbank.bank.record import at_block, coded, make_record
from patchbank.bank.scratch import check_scratch, scratch_folder
from patchbank.bank.settings import ExtractSettings as ExtractSettings
from patchbank.datasets.images import PLAIN
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import check_space, read_json, write_json
from patchbank.leases import Leases
from patchbank.views.base import EncodingRecipe, SideFiles, make_recipe
from patchbank.weights.spec import BackboneSpec, Read


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
        piece: (index, number) of this process among those that share the part.
        threads: CPU threads given to this job, for the number of decoding workers.
        beside: jobs that fill such parts on the same disk at the same time, this one among them.
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
    piece: tuple[int, int] = (0, 1)
    threads: int | None = None
    beside: int = 1


def extract(job: ExtractJob) -> None:
    """Fill one part of a bank's shards, and in the same pass those of the banks of `BackboneSpec.blocks`.

    A recipe that encodes by itself is read at the backbone's own block alone.

    Raises:
        UserError: when the disk is too small, an image cannot be read, or a value cannot be stored.
    """
    images, settings = Manifest.load(job.manifest), job.settings
    paths = {entry.id: images.root / entry.image for entry in images.entries(job.split)}
    vit = FrozenViT(job.spec, job.weights, precision=settings.precision, blocks=job.spec.blocks)
    recipe = make_recipe(settings.recipe, settings.recipe_settings, vit.patch)
    blocks = [vit.read] if isinstance(recipe, EncodingRecipe) else vit.blocks
    sha256, shapes = read_json(job.provenance)["sha256"], row_shapes(vit, recipe, np.dtype(settings.features))
    codings: Mapping[Read, Coding] = {}
    if settings.coding is not None and "tokens" in shapes:
        codings = fitted(images, vit, sha256, settings, blocks, job.bank_root)
        shapes = codings[vit.read].shapes(shapes, settings.dtype)
    storage = (settings.precision, settings.dtype if codings else settings.features, settings.images_per_shard)
    records = _records(make_record(images, job.split, vit, sha256, recipe, *storage), blocks, codings, settings)
    record = records[vit.read]
    folder, content = bank_folder(job.bank_root, record), content_hash(record)
    rows = ShardRows(paths, vit, recipe, shapes, content, images.depth or PLAIN)
    if isinstance(recipe, SideFiles):
        recipe.beside(folder, vit, content)  # refuses blocks that it does not cover before hours of work
    with Leases() as leases:
        claims = ShardClaims(leases, job.bank_root, list(records.values()), list(paths), [job.part, job.piece], codings)
        missing = claims.missing()
        samples = sum(len(ids) for bank in missing for ids in bank.parts.values()) * recipe.draws
        way_out = "free some space, point bank_root to a larger disk, or lower draws"
        check_space(folder, job.beside * samples * row_bytes(rows.shapes), way_out)
        if missing:
            largest = max(len(ids) for bank in missing for ids in bank.parts.values()) * recipe.draws
            check_scratch(job.beside * len(missing) * largest * row_bytes(rows.shapes))
        try:
            for banks in claims.turns(missing):
                fill_blocks(banks, rows, settings.batch_tokens, job.threads, claims=claims)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"Extraction ran out of memory on {vit.device} with extract.batch_tokens: {settings.batch_tokens}, "
                f"tokens of a pass ({error}); halve it. Complete shards are kept, run again."
            ) from error
        except OSError as error:
            first = f", by way of {scratch}," if (scratch := scratch_folder()) else ""
            raise UserError(
                f"Extraction into {folder}{first} failed ({error}); complete shards are kept, run again."
            ) from error
    write_json(job.out, {"folder": pointed(folder, job.out), "record": record})


def _records(
    record: Mapping[str, Any], blocks: Sequence[Read], codings: Mapping[Read, Coding], settings: ExtractSettings
) -> dict[Read, dict[str, Any]]:
    """The record of each bank."""
    records = {read: at_block(record, read) for read in blocks}
    if settings.coding is None or not codings:
        return records
    return {read: coded(records[read], described(codings[read], settings.coding)) for read in blocks}
