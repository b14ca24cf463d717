"""CAUSE-TR on tokens of any source, on the grid that it was trained on.

It is what `patchbank.inference` and stage `predict` ask.
"""

from __future__ import annotations

from pathlib import Path

import torch

from patchbank.checkpoints.store import load_checkpoint
from patchbank.methods.cause_tr.head import DecoderHead
from patchbank.methods.tools.class_heads import ClassHead, load_head_as

METHOD = "cause_tr"


class PlacedHead(ClassHead):
    """A head with a position for every patch, as `patchbank.methods.one_grid.OneGrid`."""

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patches that were trained on."""
        h, w = self.record["grid"]
        return int(h), int(w)


def load(path: str | Path) -> PlacedHead:
    """Read a head; `UserError` where it is none of CAUSE-TR, or its keys do not fit."""
    _, record = load_checkpoint(path)
    sizes = record.get("settings", {})
    codes, width, hidden = (int(sizes.get(name, 1)) for name in ("codes", "width", "hidden"))
    h, w = record.get("grid", (1, 1))
    codebook = torch.empty(codes, int(record.get("dim", 1)))
    return load_head_as(PlacedHead, path, METHOD, DecoderHead(codebook, int(h) * int(w), width, hidden, 0))
