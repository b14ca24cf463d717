"""Published DINO checkpoints in their various shapes, cleaned to the plain names of a ViT.

Training checkpoints nest the networks under `teacher` and `student` (the teacher is the one that is evaluated),
wrappers add `module.` and `backbone.`, and projection heads lie beside the backbone. `clean_backbone_keys` takes all
of it away and leaves `cls_token`, `pos_embed`, `patch_embed.*`, `blocks.*`, `norm.*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from patchbank.errors import UserError

_NESTS = ("teacher", "student", "state_dict", "model")
_WRAPPERS = ("module.", "backbone.", "_orig_mod.")
_HEADS = ("head.", "heads.", "dino_head.", "ibot_head.", "projection_head.", "prototypes.")


def clean_backbone_keys(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Backbone weights of a checkpoint, whatever wraps them.

    Args:
        state: content of the file: a state dict, or a dictionary that nests one under `teacher` (preferred),
            `student`, `state_dict` or `model`; keys may carry `teacher.`, `student.`, `module.`, `backbone.`.

    Returns:
        plain name -> tensor, heads dropped. Where keys with `backbone.` exist, only those are the backbone.

    Raises:
        UserError: nothing that looks like a backbone remains.
    """
    for nest in _NESTS:
        if isinstance(state.get(nest), Mapping):
            return clean_backbone_keys(state[nest])
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    for network in ("teacher.", "student."):
        inside = {key: value for key, value in tensors.items() if key.removeprefix("module.").startswith(network)}
        if inside:
            tensors = {key.removeprefix("module.").removeprefix(network): value for key, value in inside.items()}
            break
    wrapped = {key: value for key, value in tensors.items() if "backbone." in _wrappers(key)}
    cleaned = {key[len(_wrappers(key)) :]: value for key, value in (wrapped or tensors).items()}
    cleaned = {key: value for key, value in cleaned.items() if not key.startswith(_HEADS)}
    if not cleaned:
        names = ", ".join(list(state)[:5]) or "none"
        raise UserError(f"The checkpoint holds no backbone weights (keys: {names}).")
    return cleaned


def _wrappers(key: str) -> str:
    """The leading wrapper names of a key, such as ``module.backbone.``."""
    rest = key
    while prefix := next((w for w in _WRAPPERS if rest.startswith(w)), ""):
        rest = rest[len(prefix) :]
    return key[: len(key) - len(rest)]
