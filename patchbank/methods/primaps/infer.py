"""PriMaPs on tokens of any source: what `patchbank.inference` and stage `predict` ask."""

from __future__ import annotations

from pathlib import Path

from patchbank.methods.tools.class_heads import ClassHead, load_class_head

METHOD = "primaps"


def load(path: str | Path) -> ClassHead:
    """Read prototypes; `UserError` where they are none of PriMaPs."""
    return load_class_head(path, METHOD)
