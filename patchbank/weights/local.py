"""Weights from a local file: `.safetensors`, or a torch file read without pickles (`weights_only=True`)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from patchbank.checkpoints.dino import clean_backbone_keys
from patchbank.errors import UserError
from patchbank.files import sha256_file


def load(source: Mapping[str, Any], model: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read ``source["path"]``; published DINO prefixes and heads are dropped.

    Returns:
        (state dict in timm's names, provenance record).
    """
    path = Path(str(source["path"])).expanduser()
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    state = clean_backbone_keys(_read(path))
    record = {"source": str(path), "source_sha256": sha256_file(path), "licence": str(source.get("licence", "unknown"))}
    return state, record


def _read(path: Path) -> dict[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(str(path)))
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is not a safetensors file ({error})") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read without executing pickles ({str(error).splitlines()[0]})") from error
    for key in ("teacher", "state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise UserError(f"{path} holds no plain dictionary of tensors")
    return content
