"""YAML text as plain values, for the configuration and tables."""

from __future__ import annotations

from typing import Any

import yaml

SafeLoader: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = (
    yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
)
"""Builtin types only; libyaml gives the same values in a tenth of the time, but PyYAML may be built without it."""


def parse_yaml(text: str) -> Any:
    """Values of a YAML document.

    Raises:
        yaml.YAMLError: text that is no YAML.
    """
    loader = SafeLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
