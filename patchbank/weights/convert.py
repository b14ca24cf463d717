"""Published names and shapes of weights to timm's, for files that come from elsewhere.

| published as | told by | what is done |
|---|---|---|
| timm's names, also of DINO, DINOv2 and NeCo | names | nothing |
| DIP and other trainings | one prefix before `patch_embed.proj.weight` | the prefix goes, with all that lacks it |
| DINOv2 with registers | `register_tokens` | timm's `checkpoint_filter_fn` |
| TIPSv2 | `vision_encoder.` | the same |
| C-RADIO | `radio_model.model.` | the same: summary heads and the input's conditioner go, positions are resampled |
| DINOv3 | `storage_tokens` | the same; biases of a model that has none must be 0 |
| Perception Encoder, CLIP | `conv1.weight`, `visual.` | the same |
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from patchbank.errors import UserError

HEADS = ("head.", "fc_norm.", "head_dist.")
"""What a frozen encoder has no use for, unless its model has it."""
_PATCHES = "patch_embed.proj.weight"


def to_timm(state: Mapping[str, Tensor], model: torch.nn.Module, name: str) -> dict[str, Tensor]:
    """A state dict in timm's names.

    Args:
        state: plain names (`patchbank.checkpoints.dino.clean_backbone_keys`).
        model: timm's model.
        name: of it.

    Raises:
        UserError: several networks of the same shape, another patch size, or biases that the model cannot hold.
    """
    expected = model.state_dict()
    kept = without_heads(_inner(state), expected)
    if set(kept) <= set(expected):
        return kept
    _check_patches(kept, expected, name)
    if "register_tokens" in kept:
        kept.setdefault("mask_token", torch.zeros(1))  # by which timm tells DINOv2
    _check_biases(kept, expected, name)
    with contextlib.redirect_stdout(io.StringIO()):  # timm prints what it leaves out
        converted = _filter(kept, model, name)
    return without_heads(converted, expected)


def without_heads(state: Mapping[str, Tensor], expected: Mapping[str, Any]) -> dict[str, Tensor]:
    """`state` without classifier heads and norms after pooling that the model does not have."""
    return {name: value for name, value in state.items() if name in expected or not name.startswith(HEADS)}


def _inner(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    prefixes = sorted({name.removesuffix(_PATCHES) for name in state if name.endswith(_PATCHES)})
    if prefixes in ([], [""]):
        return dict(state)
    if len(prefixes) > 1 and "" not in prefixes:
        listed = ", ".join(prefix.rstrip(".") for prefix in prefixes)
        raise UserError(f"The checkpoint holds several encoders ({listed}); save the one to use by itself.")
    prefix = prefixes[0]
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def _check_patches(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    """timm would resample the patches of another size without a word."""
    given = state.get(_PATCHES)
    if given is not None and given.ndim == 4 and given.shape != expected[_PATCHES].shape:
        raise UserError(
            f"The checkpoint's {_PATCHES} has shape {tuple(given.shape)}, {name} has {tuple(expected[_PATCHES].shape)}."
        )


def _check_biases(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    """timm has DINOv3 with and without biases of queries and values, because most published ones are 0."""
    if "storage_tokens" not in state or "blocks.0.attn.q_bias" in expected:
        return
    for key, value in state.items():
        if key.endswith("attn.qkv.bias"):
            query, _key, values = value.chunk(3)
            if bool(query.any()) or bool(values.any()):
                raise UserError(f"{name} has no biases of queries and values, the checkpoint has; use {name}_qkvb.")


def _filter(state: dict[str, Tensor], model: torch.nn.Module, name: str) -> dict[str, Tensor]:
    from timm.models import eva, vision_transformer

    if type(model).__name__ == "Eva":
        converted: dict[str, Tensor] = eva.checkpoint_filter_fn(state, model)
        return converted
    options: dict[str, Any] = {}
    if "radio" in name:  # its positions are resampled as its own code does
        corners = any(part in name for part in ("base_patch16_radio_v3", "huge_patch16_radio_v3"))
        options = {"interpolation": "bilinear", "antialias": False, "align_corners": corners}
    if "deit3" in name:
        options = {"adapt_layer_scale": True}
    result: dict[str, Tensor] = vision_transformer.checkpoint_filter_fn(state, model, **options)  # type: ignore[arg-type]
    return result
