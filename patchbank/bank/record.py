"""The record of a bank: everything that shapes it, computed before any feature is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbank.backbones.encoder import Encoder
from patchbank.bank.format import FIELDS, FORMAT, OF_CLASS, shard_count
from patchbank.bank.identity import depth_code, values_code
from patchbank.datasets.dicom import MARK
from patchbank.datasets.directions import Directions
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.views.base import RecipeProtocol
from patchbank.views.bounds import WITHOUT_ENCODER
from patchbank.weights.spec import BackboneSpec, Read


def make_record(
    manifest: Manifest,
    split: str,
    vit: Encoder,
    sha256: str,
    recipe: RecipeProtocol,
    precision: str,
    dtype: str,
    images_per_shard: int,
) -> dict[str, Any]:
    """The record; what of it shapes values, and the images, name the bank's folder (`patchbank.bank.format`).

    Args:
        manifest, split: what is extracted.
        vit: the encoder.
        sha256: of its weights.
        recipe: the views.
        precision: of the forward pass.
        dtype: of the stored values.
        images_per_shard: upper bound of the mean number of images in a shard.
    """
    spec, images = vit.spec, len(manifest.entries(split))
    return {
        "format": FORMAT,
        "code": values_code(type(vit).__module__, type(recipe).__module__),
        "dataset": manifest.dataset,
        "split": split,
        "images": images,
        "manifest": manifest.fingerprint(split),
        "shards": shard_count(images, images_per_shard),
        "backbone": {**backbone_record(spec, vit.block), "sha256": sha256},
        "recipe": recipe_record(recipe, vit.class_token),
        "precision": precision,
        "dtype": dtype,
        **depth_record(manifest),
    }


def backbone_record(spec: BackboneSpec, block: int) -> dict[str, Any]:
    """What the record says of the encoder before its weights are there.

    Args:
        spec: its entry.
        block: that is read, from 0 on.
    """
    return {
        "name": spec.name,
        "model": spec.model,
        "block": block,
        "norm": spec.norm,
        "pos_embed": spec.pos_embed,
        "mean": list(spec.mean),
        "std": list(spec.std),
    }


def depth_record(manifest: Manifest) -> dict[str, Any]:
    """What the record says of deep pictures; nothing of a set without such, whose values do not depend on it."""
    if manifest.depth is None:
        return {}
    dicom = any(kind.endswith(MARK) for kind in manifest.depth.ranges)
    pca = isinstance(manifest.depth.bands, Directions)
    return {"depth": {**manifest.depth.to_json(), "code": depth_code(dicom, pca)}}


def recipe_record(recipe: RecipeProtocol, class_token: bool) -> dict[str, Any]:
    """Everything that shapes the views; without a class token the bank's fields, too, which are then not the usual.

    Raises:
        UserError: a recipe that stores something else of the class token alone.
    """
    record = recipe.record()
    if class_token or record["name"] in WITHOUT_ENCODER:
        return record
    if "fields" in record:
        raise UserError(
            f"Recipe {record['name']} stores what an encoder says by its class token, and this one has none; "
            "choose a backbone with a class token."
        )
    return {**record, "fields": [name for name in FIELDS if name not in OF_CLASS]}


def coded(record: Mapping[str, Any], coding: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the same bank with tokens that are coded as `coding` says (`patchbank.bank.coding_fit`)."""
    return {**record, "coding": dict(coding)}


def at_block(record: Mapping[str, Any], read: Read) -> dict[str, Any]:
    """The record of the same bank, where the encoder is read elsewhere."""
    return {**record, "backbone": {**record["backbone"], "block": read[0], "norm": read[1]}}


def read_at(record: Mapping[str, Any]) -> Read:
    """Where the encoder is read, of a bank's record."""
    return record["backbone"]["block"], record["backbone"]["norm"]
