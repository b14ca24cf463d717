"""A trained head on disk, as every method reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from patchbank.checkpoints.store import check_method, load_checkpoint

DECODER = "decoder/"
"""Before the names of the decoder's parameters."""


def load_own(path: str | Path, method: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and record of a checkpoint of `method`; `UserError` for one of another method."""
    tensors, record = load_checkpoint(path)
    check_method(record, method, path)
    return tensors, record


def decoder_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The parameters of a decoder under the names that a checkpoint gives them."""
    return {DECODER + name: value for name, value in model.state_dict().items()}


def load_decoder(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a decoder the parameters that `decoder_tensors` returned."""
    model.load_state_dict({name: tensors[DECODER + name] for name in model.state_dict()})
