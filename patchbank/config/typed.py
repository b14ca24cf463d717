"""Values as a user typed them: text stays text wherever the schema asks for text.

YAML takes `2024_05` for the number 202405, `no` for false and `2024-05-01` for a date; Snakemake's ``--config`` takes
`1e3` for 1000.0 and every number inside brackets for text. Here the schema decides: a scalar where it asks for a string
is the text that was typed, every other scalar is what YAML says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from patchbank.config.schema import merge, resolved
from patchbank.errors import UserError
from patchbank.yaml_text import SafeLoader

_TEXT, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "merge"))
NULLS = ("null", "Null", "NULL", "~")
"""What YAML takes for nothing."""


def read_values(file: str | Path, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The keys and values of a YAML or JSON file.

    Raises:
        UserError: the file cannot be read as YAML, or holds no mapping.
    """
    try:
        values = _load(Path(file).read_text(encoding="utf-8"), schema, schema)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read as YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} holds no keys; write them as in config.yaml.")
    return values


def from_entries(entries: Iterable[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``KEY=VALUE`` texts, as after ``--config``; later ones are written over earlier ones.

    Raises:
        UserError: a list or mapping that cannot be read.
    """
    values: dict[str, Any] = {}
    for entry in entries:
        key, _, text = entry.partition("=")
        values = merge(values, {key: _value(entry, text, schema.get("properties", {}).get(key), schema)})
    return values


def typed_config(files: Sequence[str | Path], entries: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """What `files` say, each written over the ones before, changed by ``KEY=VALUE`` entries."""
    values: dict[str, Any] = {}
    for file in files:
        values = merge(values, read_values(file, schema))
    return merge(values, from_entries(entries, schema))


def _value(entry: str, text: str, part: Mapping[str, Any] | None, schema: Mapping[str, Any]) -> Any:
    """The value of one entry; `part` is the schema of its key, None for an unknown key."""
    part = None if part is None else resolved(part, schema)
    types = _types(part or {})
    if text == "" or ("null" in types and text in NULLS):
        return None
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if part is not None and _is_text(part) and not quoted and not ("array" in types and text.startswith("[")):
        return text
    try:
        return _load(text, part or {}, schema)
    except yaml.YAMLError as error:
        if part is None:
            return text
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(
            f"--config {entry}: cannot be read ({reason}); write lists as seeds=[0,1] and mappings as "
            "'recipes={whole: {size: 320}}', in quotes and with a blank after each colon."
        ) from None


def _load(text: str, part: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """YAML with the types that `part` of `schema` asks for."""
    loader = SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _retag(node, part, schema)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _retag(node: yaml.Node, part: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Mark scalars as text where the schema asks for it."""
    part = resolved(part, schema)
    if isinstance(node, yaml.ScalarNode):
        nothing = node.tag == _NULL and (node.value == "" or "null" in _types(part))
        if _is_text(part) and not nothing:
            node.tag = _TEXT
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _retag(item, part.get("items", {}), schema)
    elif isinstance(node, yaml.MappingNode):
        known, others = part.get("properties", {}), part.get("additionalProperties")
        for key, value in node.value:
            if key.tag == _MERGE:
                for merged in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    _retag(merged, part, schema)
                continue
            if "propertyNames" in part and isinstance(key, yaml.ScalarNode):
                key.tag = _TEXT
            below = known.get(key.value) if isinstance(key, yaml.ScalarNode) else None
            _retag(value, below or (others if isinstance(others, Mapping) else {}), schema)


def _types(part: Mapping[str, Any]) -> list[str]:
    types = part.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _is_text(part: Mapping[str, Any]) -> bool:
    """Whether a scalar here is text and nothing else."""
    if "enum" in part:
        return all(isinstance(value, str) for value in part["enum"])
    types = _types(part)
    return "string" in types and not {"integer", "number", "boolean"} & set(types)
