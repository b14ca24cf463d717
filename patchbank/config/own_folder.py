"""A folder of one's own as a set, without editing a file: ``snakemake eval_mine --config folder=DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from patchbank.errors import UserError

MINE = "mine"
"""Name of the set."""
BACKBONE = "dinov2_vits14_saliency"
"""Its backbone, unless `backbone` replaces every set's own: its weights need no account and no hub."""


def with_own_folder(values: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the set `mine` where `folder` is given.

    Args:
        values: a complete configuration.

    Raises:
        UserError: `classes` without `folder`, or a set of this name in `datasets`.
    """
    if values["folder"] is None:
        if values["classes"]:
            raise UserError("config: classes describe the set of `folder`; give --config folder=DIR as well.")
        if values["label_map"]:
            raise UserError("config: label_map is that of `folder`; give --config folder=DIR as well.")
        return values
    if MINE in values["datasets"]:
        raise UserError(f"config: folder defines the set {MINE!r}, which datasets has already; rename or remove one.")
    classes = values["classes"]
    names = [part.strip() for part in classes.split(",") if part.strip()] if isinstance(classes, str) else classes
    entry: dict[str, Any] = {
        "layout": "folder",
        "root": str(Path(values["folder"]).absolute()),
        "backbone": BACKBONE,
        "classes": names,
        "settings": {},
    }
    if values["label_map"] is not None:
        entry["label_map"] = values["label_map"]
    return values | {"datasets": values["datasets"] | {MINE: entry}}
