"""The configuration from files: the one that ships with the project, changed by others and by single values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from patchbank.config.config import PROJECT, Config
from patchbank.config.schema import merge
from patchbank.errors import UserError


def default_config() -> Config:
    """The configuration that ships with the project."""
    return read_config()


def read_config(files: Sequence[str | Path] = (), changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration that ships with the project, changed by `files` (YAML) and then by `changes`.

    Raises:
        UserError: for a file that is missing or not a YAML mapping, and for every wrong value.
    """
    values: dict[str, Any] = yaml.safe_load((PROJECT / "config.yaml").read_text(encoding="utf-8"))
    for file in files:
        values = merge(values, _read_yaml(Path(file)))
    return Config(merge(values, changes or {}))


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read as YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} holds no keys; write them as in config.yaml.")
    return values
