"""What small tokens are coded with (`patchbank.bank.coding`), fitted on a sample of the training images.

Before the first shard of such a bank, the encoder reads `IMAGES` training images by recipe `whole`: those with the
smallest content ids, which is a random choice that no other image moves. From each come `TOKENS` random tokens. The
directions that `pca` keeps are the leading eigenvectors of their second moments, about the origin and not about the
mean, so that no product of two tokens is kept better by others. The step of a channel, or of a direction, is the
largest distance from its mean among them, divided by 127.

The result is kept below the bank root, ``<set>/coding/<backbone>-b<block>-<size>-<precision>-<8 hex>.npz``, the 8 hex
being the hash of what it is fitted from, and every bank of the set takes it from there: the banks of the other splits,
recipes and parts. Of jobs that need it at the same time one fits, and the others wait (`patchbank.leases`). Its own
hash stands in the banks' records. A new training image that comes into the sample makes another coding, and so other
banks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from patchbank.backbones.encoder import Encoder
from patchbank.bank.coding import LEVELS, Coding
from patchbank.bank.decoding import ImageViews, image_batches
from patchbank.bank.encode import rows_at_blocks
from patchbank.bank.identity import coding_code, fit_code
from patchbank.bank.record import at_block, make_record
from patchbank.bank.settings import CodingSettings, ExtractSettings
from patchbank.datasets.images import PLAIN
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import digest, read_npz, write_npz
from patchbank.leases import alone
from patchbank.progress import track
from patchbank.seeds import generator
from patchbank.views.base import make_recipe
from patchbank.weights.spec import Read

LOG = logging.getLogger(__name__)
IMAGES, TOKENS = 128, 1024
"""Images of the sample, and tokens of each; 200 MB of tokens of width 384 while it is fitted."""
BLOCK = 4096
"""Tokens whose second moments are added at a time; bounds the memory of the float64 copy."""


def fitted(
    manifest: Manifest, vit: Encoder, sha256: str, settings: ExtractSettings, blocks: Sequence[Read], root: Path
) -> dict[Read, Coding]:
    """Codings wherever the encoder is read, from the disk or fitted now.

    Args:
        manifest: of the set.
        vit: the encoder, which reads all of `blocks` in one pass.
        sha256: of its weights.
        settings: how the bank is made.
        blocks: where it is read.
        root: where banks live.

    Raises:
        UserError: an image of the sample cannot be read, or says a value that is not finite.
    """
    assert settings.coding is not None
    of = settings.coding
    ids = sorted(entry.id for entry in manifest.entries(of.split))[:IMAGES]
    if not ids:
        raise UserError(
            f"extract.dtype: {settings.dtype}, pca: {of.pca} is fitted on images of {of.split}, which has none."
        )
    if of.pca >= vit.dim:
        raise UserError(
            f"extract.pca is {of.pca}, and tokens of {vit.spec.name} have a width of {vit.dim}; name fewer directions, "
            "or 0 to keep all channels."
        )
    recipe = make_recipe("whole", of.whole, vit.patch)
    record = make_record(manifest, of.split, vit, sha256, recipe, settings.precision, settings.features, IMAGES)
    coded = {"pca": of.pca, "int8": settings.dtype == "int8"}
    names = {block: _name(at_block(record, block), ids, coded) for block in blocks}
    files = {block: root / manifest.dataset / "coding" / name for block, name in names.items()}
    with ExitStack() as stack:
        for file in sorted(file for file in files.values() if not file.is_file()):  # in one order: none waits in a ring
            stack.enter_context(alone(file, file.name))
        missing = [block for block, file in files.items() if not file.is_file()]  # others may have made some meanwhile
        if missing:
            LOG.info("fitting the coding of tokens on %d images of %s", len(ids), of.split)
            paths = {entry.id: manifest.root / entry.image for entry in manifest.entries(of.split)}
            views = ImageViews(paths, recipe, manifest.depth or PLAIN)
            for block, tokens in _sample(vit, views, ids, settings.batch_tokens, missing).items():
                coding = fit(tokens, of.pca, settings.dtype == "int8")
                write_npz(files[block], {**coding.arrays, "images": np.array(ids, dtype="S16")})
    return {block: Coding.of(read_npz(file)) for block, file in files.items()}


def chosen_tokens(image: str, count: int) -> NDArray[np.int64]:
    """Which of an image's tokens are in the sample, ascending."""
    return np.sort(generator("coding", image).choice(count, min(TOKENS, count), replace=False))


def fit(tokens: NDArray[np.float32], pca: int = 0, int8: bool = True) -> Coding:
    """The coding of a sample of tokens (n, D).

    Args:
        tokens: the sample.
        pca: directions to keep; 0 keeps all channels.
        int8: whether what is kept becomes whole numbers.
    """
    directions = _directions(tokens, pca) if pca else None
    if not int8:
        return Coding(directions)
    if directions is not None:
        tokens = tokens @ directions.T
    centre = tokens.mean(0, dtype=np.float64).astype(np.float32)
    furthest = np.maximum(tokens.max(0) - centre, centre - tokens.min(0))
    step = np.where(furthest > np.finfo(np.float32).tiny * LEVELS, furthest / LEVELS, 1)
    return Coding(directions, centre, step.astype(np.float32))


def _directions(tokens: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Leading eigenvectors (count, D) of the second moments; their largest entry is positive."""
    products = np.zeros((tokens.shape[1],) * 2)
    for start in range(0, len(tokens), BLOCK):
        block = tokens[start : start + BLOCK].astype(np.float64)
        products += block.T @ block
    vectors = np.linalg.eigh(products)[1][:, ::-1][:, :count]
    signed = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(count)])
    return np.ascontiguousarray(signed.T, dtype=np.float32)


def described(coding: Coding, settings: CodingSettings) -> dict[str, Any]:
    """What the record of a bank says of its coding."""
    return {"sha256": coding.sha256, "fitted_on": settings.split, "pca": settings.pca, "code": coding_code()}


def _name(record: Mapping[str, Any], ids: Sequence[str], coded: Mapping[str, Any]) -> str:
    """Name of the file, of what the coding is fitted from."""
    kept = ("format", "code", "recipe", "precision", "depth")
    backbone = {key: value for key, value in record["backbone"].items() if key != "name"}
    of = {"backbone": backbone, "images": list(ids), **{key: record[key] for key in kept if key in record}}
    kind = f"b{record['backbone']['block']}-{record['recipe']['size'][0]}-{record['precision']}"
    code = {"coding": coding_code(), "fit": fit_code()}
    return f"{record['backbone']['name']}-{kind}-{digest({**of, **coded, **code})}.npz"


def _sample(
    vit: Encoder, views: ImageViews, ids: Sequence[str], batch_tokens: int, blocks: Sequence[Read]
) -> dict[Read, NDArray[np.float32]]:
    """Tokens (n, D) of the images at each block, in one pass; `UserError` for an image that cannot be read."""
    taken: dict[Read, list[NDArray[np.float32]]] = {block: [] for block in blocks}
    batches = [[image] for image in ids]
    loaded = image_batches(batches, views, 1, 1, pinned=vit.device.type == "cuda")
    for image, pictures in zip(ids, track(loaded, "coding", "image"), strict=True):
        if isinstance(pictures, str):
            raise UserError(pictures)
        said = rows_at_blocks(vit, views.recipe, pictures, batch_tokens)
        for block in blocks:
            tokens = said[block]["tokens"].flatten(0, 2)
            if not bool(tokens.isfinite().all()):
                raise UserError(
                    f"image {image}: tokens of block {block[0]} are not finite; look at image and backbone."
                )
            chosen = torch.from_numpy(chosen_tokens(image, len(tokens)))
            taken[block].append(tokens[chosen.to(tokens.device)].cpu().numpy())
    return {block: np.concatenate(parts) for block, parts in taken.items()}
