"""The two models of inference: the method that a checkpoint belongs to, and the frozen encoder that it was trained on.

A checkpoint's record says which encoder: model, block, norm, position embeddings, input normalisation and the SHA-256
of the weights. Weights are looked for where the pipeline puts them, and another file than the recorded one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from patchbank.backbones.encoder import Precision
from patchbank.backbones.vit import FrozenViT
from patchbank.checkpoints.store import load_checkpoint
from patchbank.config.folders import how_to_make
from patchbank.config.load import default_config
from patchbank.devices import torch_device
from patchbank.errors import UserError
from patchbank.files import sha256_file
from patchbank.methods import contract
from patchbank.methods.shape import PictureModel, TokenModel
from patchbank.weights.spec import BackboneSpec

WEIGHTS = "results/weights/{name}/weights.safetensors"
"""Where the pipeline puts an encoder's weights."""


Model = TokenModel | PictureModel
"""What a method computes with."""


def load_model(checkpoint: str | Path) -> Model:
    """The method's model of a checkpoint.

    Raises:
        UserError: not a checkpoint, one with missing or foreign keys, or one of a method without `infer.py`.
    """
    if Path(checkpoint).suffix in (".pth", ".pt"):
        named = " or ".join(f"`patchbank import {name}`" for name in contract.published_folders())
        raise UserError(f"{checkpoint} is a torch file; make a checkpoint of it first: {named}.")
    method = load_checkpoint(checkpoint)[1].get("method")
    able = [
        name for name in contract.method_folders() if contract.offers(name, "infer") and contract.traits(name).trained
    ]
    if method not in able:
        raise UserError(f"{checkpoint} is a checkpoint of {method!r}; pictures can be segmented by {', '.join(able)}.")
    return contract.load_model(str(method), checkpoint)


def load_encoder(
    model: Model,
    checkpoint: str | Path,
    backbone: str | None = None,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "float32",
) -> FrozenViT:
    """The encoder of a checkpoint.

    Args:
        model: from `load_model`.
        checkpoint: its file, or what stands for one, for messages.
        backbone: a name of `backbones:` in config.yaml, for a checkpoint that does not say which (an imported one).
        weights: file of the weights; by default the one that the pipeline made.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``...
        precision: of the forward pass.

    Raises:
        UserError: an encoder that is not known or not the checkpoint's, missing or wrong weights, a missing device.
    """
    spec, sha256 = _describe(model.record.get("backbone"), backbone, checkpoint)
    path = Path(weights or WEIGHTS.format(name=spec.name))
    if not path.is_file():
        advice = "" if weights else f"; {how_to_make(path)}"
        raise UserError(f"{path} does not exist; name the weights of {spec.name} with --weights{advice}.")
    digest = sha256_file(path)
    if sha256 not in (None, digest):
        raise UserError(
            f"{path} is not the file of weights that {checkpoint} was trained on: SHA-256 {digest[:16]}... instead of "
            f"{str(sha256)[:16]}...; name the right one with --weights."
        )
    target = torch_device(device)
    try:
        vit = FrozenViT(spec, path, target, precision)
    except (RuntimeError, SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path} cannot be loaded as weights of {spec.model} ({reason}).") from None
    if model.dim not in (0, vit.dim):
        raise UserError(
            f"{checkpoint} reads tokens of width {model.dim}; those of {spec.name} have {vit.dim}. A head that was "
            "trained on directions of tokens (extract.pca) segments the pictures of its banks alone."
        )
    model.to(target)
    return vit


def _describe(
    record: Mapping[str, Any] | None, named: str | None, checkpoint: str | Path
) -> tuple[BackboneSpec, str | None]:
    """The encoder's specification and the SHA-256 of its weights, where that is recorded."""
    if record is None:
        known = default_config().values["backbones"]
        if named not in known:
            received = "" if named is None else f", received {named!r}"
            raise UserError(
                f"{checkpoint} does not say which encoder it reads; name it with --backbone ({', '.join(known)})"
                f"{received}."
            )
        return default_config().backbone(str(named)), None
    if named not in (None, record["name"]):
        raise UserError(f"{checkpoint} was trained on {record['name']}, not on --backbone {named}; leave that out.")
    fields = {key: record[key] for key in ("name", "model", "block", "norm", "pos_embed")}
    spec = BackboneSpec(mean=tuple(record["mean"]), std=tuple(record["std"]), **fields)
    return spec, record.get("sha256")
