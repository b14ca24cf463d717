"""Values against a JSON schema: merged, completed with defaults, and every wrong one named in a sentence."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from patchbank.errors import raise_problems


def complete(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `values` with the schema's defaults filled in, checked against the schema.

    Raises:
        UserError: with every problem; an unknown key comes with the nearest known one.
    """
    from jsonschema import Draft202012Validator

    filled = copy.deepcopy(dict(values))
    _fill(filled, schema)
    found = sorted(Draft202012Validator(schema).iter_errors(filled), key=lambda error: list(map(str, error.path)))
    raise_problems(
        "config",
        [problem for error in found for problem in _sentences(error)],
        "See workflow/schemas/config.schema.yaml for every key.",
    )
    return filled


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` written over it, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _fill(values: Any, schema: Mapping[str, Any]) -> None:
    if not isinstance(values, dict):
        return
    for key, part in schema.get("properties", {}).items():
        if key not in values and "default" in part:
            values[key] = copy.deepcopy(part["default"])
        if key in values:
            _fill(values[key], part)
    extra = schema.get("additionalProperties")
    if isinstance(extra, Mapping):
        for key, value in values.items():
            if key not in schema.get("properties", {}):
                _fill(value, extra)


def _sentences(error: Any) -> Iterator[str]:
    place = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for key in sorted(set(error.instance) - set(known)):
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
            yield f"{place + '.' if place else ''}{key}: unknown key; {hint}"
    elif error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        yield f"{place or 'config'}: {', '.join(missing)} must be given"
    else:
        yield f"{place}: {error.message}"
