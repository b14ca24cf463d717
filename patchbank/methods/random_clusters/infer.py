"""The floor `random-clusters` has nothing to say of pictures outside a set, and says why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchbank.errors import UserError
from patchbank.methods.shape import PictureModel


def make(record: Mapping[str, Any], statistics: Path | None) -> PictureModel:
    """Always raises `UserError`."""
    raise UserError(
        "random-clusters draws a random cluster for every patch, which says nothing of a picture; name another row, "
        "e.g. kmeans."
    )
