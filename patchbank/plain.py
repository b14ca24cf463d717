"""Dataclasses as plain values and back: what travels to a script through the params of its rule.

Snakemake compares params by what they print and hands them over as builtin types, so a dataclass becomes a mapping of
its fields before, and is built again from its annotations in the script.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


def to_plain(settings: DataclassInstance) -> dict[str, Any]:
    """The fields of a dataclass as builtin types, those of dataclasses inside it too; a path is its text."""
    return {field.name: _plain(getattr(settings, field.name)) for field in fields(settings)}


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_plain(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(entry) for entry in value)
    return value


def from_plain(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass `kind` of what `to_plain` made of one.

    Raises:
        TypeError: a field is missing, or one that the dataclass does not have.
    """
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(unknown)}")
    return kind(**{name: _built(hints[name], value) for name, value in values.items()})


def _built(hint: Any, value: Any) -> Any:
    """`value` as its annotation says."""
    origin, arguments = get_origin(hint), get_args(hint)
    if value is None:
        return None
    if origin in (Union, types.UnionType):
        kinds = [part for part in arguments if part is not type(None)]
        fields_of = isinstance(value, Mapping)  # of a dataclass, where it may be one or something else
        return _built(next((part for part in kinds if is_dataclass(part) == fields_of), kinds[0]), value)
    if isinstance(hint, type) and is_dataclass(hint):
        return from_plain(hint, value)
    if hint is Path:
        return Path(value)
    if origin is tuple:
        inner = [arguments[0]] * len(value) if len(arguments) == 2 and arguments[1] is ... else arguments
        return tuple(_built(part, entry) for part, entry in zip(inner, value, strict=True))
    if origin in (list, Sequence) and arguments:
        return [_built(arguments[0], entry) for entry in value]
    return value
