"""The record of a bank: everything that shapes it, computed before any feature is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import patchbank
from patchbank.bank.format import FORMAT, shard_count
from patchbank.fingerprint import code_fingerprint
from patchbank.views.base import RecipeProtocol
from patchbank.weights.spec import BackboneSpec

CODE = ("patchbank.bank.encode", "patchbank.bank.writer", "patchbank.views.base", "patchbank.datasets.images")
"""Modules whose code shapes the values of a row (besides the recipe's own)."""


def make_record(
    dataset: str,
    split: str,
    images: int,
    manifest_fingerprint: str,
    spec: BackboneSpec,
    block: int,
    weights: Mapping[str, Any],
    recipe: RecipeProtocol,
    precision: str,
    dtype: str,
    images_per_shard: int,
) -> dict[str, Any]:
    """The record; its hash names the bank's folder.

    Args:
        dataset, split: what is extracted.
        images: number of images of the split.
        manifest_fingerprint: hash over the split's content ids.
        spec: the encoder.
        block: index of the block that is read, counted from 0.
        weights: provenance of its weights (`sha256` is used).
        recipe: the views.
        precision: of the forward pass.
        dtype: of the stored values.
        images_per_shard: upper bound of the mean number of images in a shard.
    """
    view = recipe.record()
    return {
        "format": FORMAT,
        "package": patchbank.__version__,
        "code": code_fingerprint(*CODE, f"patchbank.views.{view['name']}"),
        "dataset": dataset,
        "split": split,
        "images": images,
        "manifest": manifest_fingerprint,
        "shards": shard_count(images, images_per_shard),
        "backbone": {
            "name": spec.name,
            "model": spec.model,
            "block": block,
            "norm": spec.norm,
            "pos_embed": spec.pos_embed,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "sha256": weights["sha256"],
        },
        "recipe": view,
        "precision": precision,
        "dtype": dtype,
    }
