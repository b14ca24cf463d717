"""Entries of `backbones:`: their input normalisation, and the specification that stages get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from patchbank.errors import UserError
from patchbank.weights.facts import model_facts, stated, tags_of
from patchbank.weights.spec import BackboneSpec

_NUMBERS = ("mean", "std")


def with_normalisation(values: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with the `mean` and `std` of every backbone that leaves them to timm, where timm has them."""
    filled = {}
    for name, entry in _each_block(values["backbones"]):
        known = stated(entry["model"], entry["sources"]) if None in (entry["mean"], entry["std"]) else None
        of_timm = {key: list(getattr(known, key)) for key in _NUMBERS if known and entry[key] is None}
        filled[name] = {**entry, **of_timm}
    return {**values, "backbones": filled}


def _each_block(backbones: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Entries, and after one with `blocks` those of each block, ``<name>-b<block>``."""
    for name, entry in backbones.items():
        yield name, entry
        for block in entry.get("blocks", ()):
            if f"{name}-b{block}" not in backbones:
                yield f"{name}-b{block}", {**entry, "block": block, "blocks": [*entry["blocks"], entry["block"]]}


def backbone_spec(name: str, entry: Mapping[str, Any]) -> BackboneSpec:
    """The specification of an entry.

    Raises:
        UserError: its normalisation is neither given nor known, or the block does not exist.
    """
    if None in (entry["mean"], entry["std"]):
        raise UserError(
            f"backbones.{name}: mean and std are not known{_candidates(entry['model'])}; "
            "give both, or the hub's tag of the weights among its sources."
        )
    facts = model_facts(entry["model"])
    for block in (entry["block"], *entry.get("blocks", ())):
        if facts is not None and not -facts.depth <= block < facts.depth:
            last = facts.depth - 1
            raise UserError(f"backbones.{name}: block {block} does not exist, {entry['model']} has 0..{last}.")
    numbers = {key: tuple(entry[key]) for key in _NUMBERS}
    spec = BackboneSpec(name=name, **{**entry, **numbers, "blocks": ()})
    return replace(spec, blocks=tuple((block, spec.norm) for block in entry.get("blocks", ())))


def _candidates(model: str) -> str:
    """What timm's weights of a model are normalised by, where they differ."""
    candidates: dict[tuple[Any, Any], str] = {}
    for tag, facts in tags_of(model).items():
        candidates.setdefault((facts.mean, facts.std), tag)
    listed = "; ".join(f"{tag} mean {list(mean)} std {list(std)}" for (mean, std), tag in candidates.items())
    return f" (timm's weights of {model} differ: {listed})" if listed else f" (timm has no weights of {model})"
