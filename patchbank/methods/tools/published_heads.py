"""Published checkpoints of heads on single tokens: layers by the end of their names, 1x1 convolutions as linear layers.

Published files hold the whole system under wrappers of several names (`net.`, `module.`, ...); what is read is told by
the ends of names, and must be there once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from patchbank.checkpoints.torch_files import load_torch, save_torch
from patchbank.errors import UserError
from patchbank.methods.tools.class_heads import ClassHead
from patchbank.methods.tools.token_heads import TokenHead, from_published

CLUSTER_LAYERS = {"direct": "cluster1.0", "hidden": "cluster2.0", "out": "cluster2.2"}
"""Our layers -> names of STEGO's and SmooSeg's."""


def read_state(source: Path) -> dict[str, Tensor]:
    """The tensors of a torch file, or of its `state_dict`; `UserError` where it holds none."""
    content = load_torch(source)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    tensors = {str(key): value for key, value in (state or {}).items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{source} holds no weights.")
    return tensors


def ending(source: Path, state: Mapping[str, Tensor], name: str) -> Tensor:
    """The one tensor whose name is `name`, or ends in it behind a dot; `UserError` where there is none or are more."""
    keys = [key for key in state if key == name or key.endswith(f".{name}")]
    if len(keys) != 1:
        told = f"has {', '.join(keys)}" if keys else "has none"
        raise UserError(f"{source}: one tensor named {name} is needed, and the file {told}.")
    return state[keys[0]]


def read_head(source: Path, state: Mapping[str, Tensor], layers: Mapping[str, str], activation: str) -> TokenHead:
    """The head of a published state; `layers` are our names and theirs."""
    named = {
        f"{name}.{kind}": ending(source, state, f"{name}.{kind}")
        for name in layers.values()
        for kind in ("weight", "bias")
    }
    weights = from_published(named, layers)
    width, dim = weights["direct.weight"].shape
    head = TokenHead(int(dim), int(width), activation, 0)  # type: ignore[arg-type]
    shapes = {name: (tuple(weights[name].shape), tuple(value.shape)) for name, value in head.state_dict().items()}
    wrong = [f"{name} {one}, not {two}" for name, (one, two) in shapes.items() if one != two]
    if wrong:
        raise UserError(f"{source}: layers do not fit each other: {'; '.join(wrong)}.")
    head.load_state_dict(weights)
    return head


def published_layers(head: TokenHead, layers: Mapping[str, str], prefix: str) -> dict[str, Tensor]:
    """The parameters of a head under published names, its layers as 1x1 convolutions."""
    ours = head.state_dict()
    named = {f"{prefix}{layers[n]}.{k}": ours[f"{n}.{k}"] for n in layers for k in ("weight", "bias")}
    return {name: value[..., None, None] if value.ndim == 2 else value for name, value in named.items()}


def write_state(target: Path, head: TokenHead, layers: Mapping[str, str], prefix: str, more: dict[str, Tensor]) -> None:
    """Write a head under published names, and further tensors, as a `state_dict`."""
    save_torch(target, {"state_dict": published_layers(head, layers, prefix) | more})


def check_uncentred(source: Path, model: ClassHead) -> None:
    """Raise `UserError` where a head centres its tokens, which has no place in published formats."""
    if model.shift is not None:
        raise UserError(f"{source} centres its tokens; the published format cannot say that.")
