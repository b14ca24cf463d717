"""Values against a JSON schema: merged, completed with defaults, and every wrong one named in a sentence."""

from __future__ import annotations

import copy
import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from patchbank.config.folders import PROJECT, schema_for_reading
from patchbank.errors import UserError, raise_problems
from patchbank.paths import expand

KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping of keys to values",
    "string": "text",
}
"""What the schema's types are called in a sentence."""


def complete(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `values` with the schema's defaults filled in, checked against the schema.

    Raises:
        UserError: with every problem; an unknown key comes with the nearest known one.
    """
    from jsonschema import Draft202012Validator

    filled = copy.deepcopy(dict(values))
    _fill(filled, schema, schema)
    errors = sorted(Draft202012Validator(schema).iter_errors(filled), key=lambda error: list(map(str, error.path)))
    raise_problems(
        "config",
        [problem for error in errors for problem in _sentences(error)],
        f"See {schema_for_reading()} for every key.",
    )
    return filled


def expand_paths(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with ``~`` and ``$NAME`` replaced in every key that the schema gives ``format: path``.

    It is called once for a configuration: a home folder's own name may hold a ``$``.

    Raises:
        UserError: with every path that cannot be expanded.
    """
    wrong: list[str] = []
    expanded: dict[str, Any] = _expand(values, schema, (), wrong)
    raise_problems("config", wrong)
    return expanded


def _expand(value: Any, schema: Mapping[str, Any], keys: tuple[str, ...], wrong: list[str]) -> Any:
    if isinstance(value, str) and schema.get("format") == "path":
        try:
            return expand(value)
        except UserError as error:
            wrong.append(f"{'.'.join(keys)}: {error}")
    if isinstance(value, Mapping):
        known, other = schema.get("properties", {}), schema.get("additionalProperties")
        parts = {key: known.get(key, other if isinstance(other, Mapping) else {}) for key in value}
        return {key: _expand(entry, parts[key], (*keys, str(key)), wrong) for key, entry in value.items()}
    if isinstance(value, list):
        return [_expand(entry, schema.get("items", {}), (*keys, str(i)), wrong) for i, entry in enumerate(value)]
    return value


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` written over it, mapping by mapping."""
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of `schema` with what its reference names."""
    if "$ref" not in part:
        return part
    named: Mapping[str, Any] = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return {**named, **part}


def _fill(values: Any, part: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Write the defaults of a part of `schema` into its values."""
    if not isinstance(values, dict):
        return
    known = resolved(part, schema)
    for key, entry in known.get("properties", {}).items():
        if key not in values and "default" in entry:
            values[key] = copy.deepcopy(entry["default"])
        if key in values:
            _fill(values[key], entry, schema)
    extra = known.get("additionalProperties")
    if isinstance(extra, Mapping):
        for key, value in values.items():
            if key not in known.get("properties", {}):
                _fill(value, extra, schema)


def _sentences(error: Any) -> Iterator[str]:
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for key in sorted(set(error.instance) - set(known)):
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(known)}"
            yield f"{path + '.' if path else ''}{key}: unknown key; {hint}"
    elif error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        if path:
            yield f"{path}: {', '.join(missing)} must be given"
        else:
            yield (
                f"{', '.join(missing)} must be given: a config.yaml in the working folder replaces the whole shipped "
                f"one ({PROJECT / 'config.yaml'}), so start from a copy of it"
            )
    elif error.validator == "type":
        yield f"{path or 'config'}: {_shown(error.instance)} is not {_kinds(error.validator_value)}{_as_list(error)}"
    elif error.validator == "enum" and isinstance(error.instance, str):
        known = list(map(str, error.validator_value))
        near = difflib.get_close_matches(error.instance, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield f"{path or 'config'}: {error.instance!r} is not one of {', '.join(known)}{hint}"
    elif error.validator == "pattern":
        example = f", for example {plain_name(error.instance)}" if plain_name(error.instance) else ""
        yield f"{path or 'config'}: {error.instance} is no name here; use {error.schema['description']}{example}"
    elif error.validator == "oneOf":
        yield f"{path}: {_shown(error.instance)} is not {error.schema.get('description', 'possible here')}"
    else:
        yield f"{path or 'config'}: {error.message}"


def plain_name(text: str) -> str:
    """A name that a set can have, made from any text: ``Meine Bilder (2)`` is ``meine_bilder_2``; "" for none."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "_", ascii_only).strip("_")


def _shown(value: Any) -> str:
    """A value as YAML would have it in one line; text that looks like something else is in quotes."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("\n...\n").strip()
    )


def _kinds(types: str | list[str]) -> str:
    return " or ".join(KINDS[name] for name in ([types] if isinstance(types, str) else types))


def _as_list(error: Any) -> str:
    """How a single value is written where a list is meant."""
    if "array" not in error.validator_value or isinstance(error.instance, Mapping | list) or error.instance is None:
        return ""
    path = [str(part) for part in error.absolute_path]
    return f"; write {path[0]}=[{_shown(error.instance)}]" if len(path) == 1 else f"; write [{_shown(error.instance)}]"
