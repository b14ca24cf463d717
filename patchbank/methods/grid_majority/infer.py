"""The ceiling `grid-majority` has nothing to say of pictures outside a set, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.errors import UserError
from patchbank.methods.shape import PictureModel


def make(record: Mapping[str, Any], statistics: Path | None) -> PictureModel:
    """Always raises `UserError`."""
    raise UserError(
        "grid-majority copies the masks of a labelled set, and a new picture has none; name another row, e.g. kmeans."
    )
