"""The configuration from files: the working folder's or the shipped one, changed by others and by single values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from patchbank.config.config import Config
from patchbank.config.folders import config_file, read_shipped
from patchbank.config.schema import merge
from patchbank.errors import UserError


def default_config() -> Config:
    """The configuration of the working folder; the shipped one where it has none."""
    return read_config()


def read_config(files: Sequence[str | Path] = (), changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration of `default_config`, changed by `files` (YAML) and then by `changes`.

    Raises:
        UserError: for a file that is missing or not a YAML mapping, and for every wrong value.
    """
    base = config_file()
    values = read_values(base) if base.is_file() else yaml.safe_load(read_shipped(base))
    for file in files:
        values = merge(values, read_values(Path(file)))
    return Config(merge(values, changes or {}))


def read_values(file: Path) -> dict[str, Any]:
    """Values of one YAML file as they stand.

    Raises:
        UserError: a file that is missing or not a YAML mapping.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read as YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} holds no keys; write them as in config.yaml.")
    return values
