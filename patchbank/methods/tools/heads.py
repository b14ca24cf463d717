"""A trained head on disk, as every method reads it: whose it is, and which encoder's tokens it knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from patchbank.checkpoints.store import load_checkpoint
from patchbank.errors import UserError

DECODER = "decoder/"
"""Before the names of the decoder's parameters."""


def load_own(path: str | Path, method: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a checkpoint of `method`; `UserError` for one of another method."""
    tensors, record = load_checkpoint(path)
    if record.get("method") != method:
        raise UserError(f"{path} is a checkpoint of {record.get('method')!r}, not of {method!r}.")
    return tensors, record


def decoder_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The parameters of a decoder under the names that a checkpoint gives them."""
    return {DECODER + name: value for name, value in model.state_dict().items()}


def load_decoder(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a decoder the parameters that `decoder_tensors` returned."""
    model.load_state_dict({name: tensors[DECODER + name] for name in model.state_dict()})


def check_backbone(record: Mapping[str, Any], backbone: Mapping[str, Any], path: str | Path) -> None:
    """Raise `UserError` when the bank's backbone differs from the one that the head was trained on.

    Args:
        record: of the head; one imported from elsewhere knows no backbone and passes.
        backbone: `backbone` of the bank's record.
        path: the checkpoint, for the message.
    """
    expected = record.get("backbone") or {}
    differing = [f"{k} {backbone.get(k)!r} instead of {v!r}" for k, v in expected.items() if backbone.get(k) != v]
    if differing:
        raise UserError(f"The bank's backbone is not the one that {path} was trained on: {'; '.join(differing)}.")
