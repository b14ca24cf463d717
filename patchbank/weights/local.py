"""Weights from a local file: `.safetensors`, or a torch file read without pickles (`weights_only=True`)."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from patchbank.checkpoints.dino import clean_backbone_keys
from patchbank.errors import UserError
from patchbank.files import sha256_file


def load(source: Mapping[str, Any], model: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read ``source["path"]``; published DINO prefixes and heads are dropped, names as they are (see `convert`).

    Returns:
        (state dict in timm's names, provenance record).
    """
    path = Path(str(source["path"]))
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        state = clean_backbone_keys(_read(path))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    record = {"source": str(path), "source_sha256": sha256_file(path), "licence": str(source.get("licence", "unknown"))}
    return state, record


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return dict(load_file(str(path)))
        except (SafetensorError, OSError) as error:
            raise UserError(f"not a safetensors file ({error})") from error
    try:
        # full training checkpoints of DINO carry their command line; a Namespace is plain values
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise UserError(f"cannot be read without executing pickles ({str(error).splitlines()[0]})") from error
    if not isinstance(content, dict):
        raise UserError("holds no dictionary of weights")
    return content
