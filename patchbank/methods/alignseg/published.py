"""Checkpoints of the published code: its `.pth` to our names and back (`patchbank import alignseg`, `export alignseg`).

A torch file with `epoch`, `net`, `state_dict` and `optimizer`; `state_dict` holds `backbone.*` (not ours: the backbone
has its own weights file) and the decoder under these names, `{i}` being the layer:

| published (the prefix is `decoder_<block>_layers.{i}.`) | ours (the prefix is `layers.{i}.`) |
|---|---|
| `cross_attention`: `multihead_attn.in_proj_weight`, `.in_proj_bias` | `cross_attention.in_weight`, `.in_bias` |
| `cross_attention`: `multihead_attn.out_proj.*`, `norm.*` | `cross_attention.out.*`, `cross_norm.*` |
| `self_attention`: `self_attn.*` (as above), `norm.*` | `self_attention.*`, `self_norm.*` |
| `ffn`: `linear1.*`, `linear2.*`, `norm.*` | `expand.*`, `contract.*`, `feed_norm.*` |
| `clsQueries.weight` (no prefix) | `queries` (no prefix) |

Files are read with `weights_only=True`: no code in them runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.errors import UserError
from patchbank.methods.shape import Option

if TYPE_CHECKING:
    from torch import Tensor

OPTIONS = (Option("heads", "attention heads, which no shape tells: 3 for VOC and COCO, 4 for MOVi"),)

_BLOCKS = {
    "decoder_cross_attention_layers": {"multihead_attn": "cross_attention", "norm": "cross_norm"},
    "decoder_self_attention_layers": {"self_attn": "self_attention", "norm": "self_norm"},
    "decoder_ffn_layers": {"linear1": "expand", "linear2": "contract", "norm": "feed_norm"},
}
_LEAVES = {"in_proj_weight": "in_weight", "in_proj_bias": "in_bias"} | {
    "out_proj.weight": "out.weight",
    "out_proj.bias": "out.bias",
}
_OURS = {ours: (block, theirs) for block, parts in _BLOCKS.items() for theirs, ours in parts.items()}
_OUR_LEAVES = {ours: theirs for theirs, ours in _LEAVES.items()}
_KEY = re.compile(r"(decoder_\w+_layers)\.(\d+)\.(\w+)\.(.+)")
_OUR_KEY = re.compile(r"layers\.(\d+)\.(\w+)\.(.+)")


def from_reference(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Decoder weights of a published `state_dict` under our names; the backbone's are left out.

    Raises:
        UserError: names keys that are neither decoder nor backbone, or says that there is no decoder.
    """
    cleaned = {key.removeprefix("module."): value for key, value in state.items()}
    decoder = {key: value for key, value in cleaned.items() if not key.startswith("backbone.")}
    names = {key: _to_ours(key) for key in decoder}
    foreign = sorted(key for key, name in names.items() if name is None)
    if foreign:
        raise UserError(f"The AlignSeg checkpoint has foreign keys: {', '.join(foreign[:5])} ({len(foreign)} in all).")
    if "clsQueries.weight" not in decoder:
        raise UserError("The AlignSeg checkpoint has no clsQueries.weight; is it the checkpoint of another system?")
    return {name: decoder[key] for key, name in names.items() if name is not None}


def _to_ours(key: str) -> str | None:
    if key == "clsQueries.weight":
        return "queries"
    match = _KEY.fullmatch(key)
    if not match:
        return None
    block, layer, part, leaf = match.groups()
    name = _BLOCKS.get(block, {}).get(part)
    return f"layers.{layer}.{name}.{_LEAVES.get(leaf, leaf)}" if name else None


def to_reference(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our decoder weights under the published names; the inverse of `from_reference`."""
    result: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if key == "queries":
            result["clsQueries.weight"] = value
            continue
        match = _OUR_KEY.fullmatch(key)
        if not match or match[2] not in _OURS:
            raise UserError(f"{key} has no place in a published AlignSeg checkpoint.")
        block, part = _OURS[match[2]]
        result[f"{block}.{match[1]}.{part}.{_OUR_LEAVES.get(match[3], match[3])}"] = value
    return result


def read_reference(path: str | Path) -> dict[str, Tensor]:
    """Decoder weights of a published `.pth` under our names.

    Raises:
        UserError: the file is missing, not a torch file of plain tensors, or not a checkpoint of AlignSeg.
    """
    from patchbank.checkpoints.torch_files import load_torch

    content = load_torch(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no dictionary of weights.")
    return from_reference(content.get("state_dict", content))


def write_reference(path: str | Path, tensors: Mapping[str, Tensor], epoch: int, net: str = "alignseg") -> None:
    """Write our decoder weights as a published-style `.pth`, without backbone and optimiser state."""
    from patchbank.checkpoints.torch_files import save_torch

    save_torch(path, {"epoch": epoch, "net": net, "state_dict": to_reference(tensors), "optimizer": {}})


def shape_settings(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """What the shapes of decoder weights (our names) tell: queries, dim, layers, hidden.

    The number of heads is in no shape; it has to be known.
    """
    queries, dim = tensors["queries"].shape
    layers = {int(match[1]) for key in tensors if (match := _OUR_KEY.fullmatch(key))}
    hidden = tensors.get("layers.0.expand.bias")
    if hidden is None:
        raise UserError("The decoder weights have no feed-forward layer 0; the checkpoint is incomplete.")
    return {"queries": queries, "dim": dim, "layers": max(layers) + 1, "hidden": len(hidden)}


def import_published(source: Path, target: Path, options: Mapping[str, int]) -> None:
    """Write a published `.pth` as a head of ours (reference decoder and pairing, tokens not centred).

    Args:
        source: the `.pth`.
        target: the `.safetensors` to write.
        options: `heads` of its decoder.
    """
    from patchbank.bank.centring import Centring
    from patchbank.checkpoints.store import check_keys
    from patchbank.methods.alignseg.head import save_head
    from patchbank.methods.alignseg.model import QueryDecoder
    from patchbank.methods.alignseg.settings import AlignSegSettings

    weights = read_reference(source)
    shapes = shape_settings(weights)
    dim = shapes.pop("dim")
    modes = {"decoder": "reference", "pairing": "reference", "centre": "none"}
    settings = AlignSegSettings.from_mapping({**shapes, **modes, "heads": options["heads"]})
    model = QueryDecoder(dim, settings)
    check_keys(source, weights, model.state_dict())
    model.load_state_dict(weights)
    save_head(target, model, settings, Centring(), {"imported_from": source.name})


def export_published(source: Path, target: Path) -> None:
    """Write a head of ours as a published-style `.pth`; its centring has no place there and must be ``none``."""
    from patchbank.methods.alignseg.head import load_head

    head = load_head(source)
    if head.settings.centre != "none":
        raise UserError(f"{source} centres its tokens ({head.settings.centre}); the published format cannot say that.")
    if head.settings.layers > 1 and head.settings.decoder != "reference":
        raise UserError(
            f"{source} stacks its {head.settings.layers} layers; the published code would use the last only."
        )
    write_reference(target, head.model.state_dict(), epoch=head.settings.epochs)
