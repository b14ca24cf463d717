"""The configuration from files: the working folder's or the shipped one, changed by others and by single values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.config.config import Config, shipped_schema
from patchbank.config.folders import config_file, schema_for_reading
from patchbank.config.plan.paths import suggested_k
from patchbank.config.problems import problems
from patchbank.config.schema import merge
from patchbank.config.typed import typed_config
from patchbank.errors import UserError, raise_problems
from patchbank.files import read_json


def default_config() -> Config:
    """The configuration of the working folder; the shipped one where it has none."""
    return read_config()


def read_config(files: Sequence[str | Path] = (), changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration of `default_config`, changed by `files` (YAML) and then by `changes`.

    Raises:
        UserError: for a file that is missing or not a YAML mapping, and for every wrong value.
    """
    schema = shipped_schema()
    values = typed_config([config_file(), *files], (), schema)
    return checked(merge(values, changes or {}), schema)


def checked(values: Mapping[str, Any], schema: Mapping[str, Any] | None = None) -> Config:
    """The configuration of these values.

    Raises:
        UserError: with every wrong value, whether the schema or another value speaks against it.
    """
    config = Config(values, schema)
    raise_problems("config", list(problems(config)), f"See {schema_for_reading()} for every key.")
    config.suggested = _suggested
    return config


def _suggested(dataset: str) -> int | None:
    """The K that was suggested for a set, from its results; None where no K was."""
    path = suggested_k(dataset)
    if not Path(path).is_file():
        raise UserError(f"clustering.k is auto, and {path} is not there; `snakemake k_chart_{dataset}` makes it.")
    suggested: int | None = read_json(path)["suggested"]
    return suggested


def command_line_config(files: Sequence[str | Path], entries: Sequence[str]) -> Config:
    """The configuration of a command line: files, each written over the ones before, then ``KEY=VALUE`` texts.

    Raises:
        UserError: for a file or text that cannot be read, and for every wrong value.
    """
    schema = shipped_schema()
    return checked(typed_config(files, entries, schema), schema)
