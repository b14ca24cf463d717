"""CAUSE-MLP on tokens of any source: what `patchbank.inference` and stage `predict` ask."""

from __future__ import annotations

from pathlib import Path

from patchbank.checkpoints.store import load_checkpoint
from patchbank.methods.tools.class_heads import ClassHead, load_class_head
from patchbank.methods.tools.token_heads import TokenHead

METHOD = "cause_mlp"


def load(path: str | Path) -> ClassHead:
    """Read a head; `UserError` where it is none of CAUSE-MLP, or its keys do not fit."""
    _, record = load_checkpoint(path)
    shape = (int(record.get("dim", 1)), int(record.get("settings", {}).get("width", 1)))
    return load_class_head(path, METHOD, TokenHead(*shape, "relu", 0))
