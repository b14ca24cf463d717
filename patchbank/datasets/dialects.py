"""How masks are numbered that do not fit their label map, and the `label_map` to write for them.

Input: how many pixels of all masks have each raw value. Output: one sentence that names the dialect and holds the line
to paste, into the set's entry of the configuration or behind `folder=` on the command line.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import yaml

from patchbank.datasets.labels import IGNORE, UNKNOWN, ranges
from patchbank.datasets.spec import DatasetSpec

SMOOTHED = 0.8
"""Share of the pixels that the commonest values cover in masks whose other values are only edges between them."""
LONG = 64
"""Entries of a label map that are still shown whole."""

Map = dict[int | str, int | str]
"""A label map as it is written: raw value or range -> class name, or 255."""


def numbering(spec: DatasetSpec, raw: Mapping[int, int]) -> str:
    """What the masks hold that the label map of `spec` does not know, with the way out; "" where it knows everything.

    Args:
        raw: pixels of each raw value, over all masks.
    """
    lut, names = spec.lut(), spec.classes
    values = sorted(value for value in raw if value >= 0)
    unknown = [value for value in values if value >= len(lut) or lut[value] == UNKNOWN]
    if not unknown:
        return ""
    if spec.label_map is not None:
        return _extended(spec, unknown)
    last = max(value for value in values if value != IGNORE)
    from_one: Map = {value: name for value, name in enumerate(names, 1)}
    if last == len(names) and 0 not in values:
        return f"The masks are numbered from 1, class ids from 0: {paste(from_one)}."
    if last == len(names) != len(values):
        return (
            f"The masks hold {_listed(values)}, the classes are 0 to {last - 1}: name the class of value 0 too, or "
            f"ignore it: {paste({0: IGNORE, **from_one})}."
        )
    if values[: len(names)] == list(from_one):
        others = [value for value in unknown if value not in from_one]
        return (
            f"The masks seem to be numbered from 1, and hold {_listed(values)}: more values than there are classes. "
            f"Name the others too, or ignore them: {paste({**from_one, **_ignored(others)})}."
        )
    common = sorted(sorted(values, key=lambda value: -raw[value])[: len(names)])
    edges = [value for value in values if value not in common]
    covered = sum(raw[value] for value in common) / sum(raw[value] for value in values)
    if len(values) == len(names):
        in_order = paste(_paired(values, names))
        return f"The masks hold {_listed(values)}. If these are the classes in this order: {in_order}."
    if len(names) > 1 and len(values) > 2 * len(names) and covered >= SMOOTHED:
        return (
            f"The masks are smoothed (antialiased, or resized with interpolation): beside {_listed(common)} they hold "
            f"{len(edges)} values that cover {100 * (1 - covered):.1f} % of the pixels. Save them without smoothing, "
            f"or {'divide the values in the middle' if len(names) == 2 else 'ignore these edges'}: "
            f"{paste(_divided(common, edges, names))}."
        )
    if len(values) == len(names) + 1 and values[0] == 0:
        mapping: Map = {0: IGNORE, **_paired(values[1:], names)}
        return (
            f"The masks hold {_listed(values)}, one value more than there are classes: name the class of value 0 too, "
            f"or ignore it: {paste(mapping)}."
        )
    known: Map = {value: name for value, name in enumerate(names) if value in values}
    return (
        f"The masks hold {ranges(values)}, the classes are 0 to {len(names) - 1}: name more classes, or say what each "
        f"value means, for example that the others are ignored: {paste({**known, **_ignored(unknown)})}."
    )


def paste(mapping: Mapping[int | str, int | str]) -> str:
    """The words that tell where a label map is written, with the map, once for each place."""
    line = yaml.safe_dump(dict(mapping), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    line = line.strip()
    return (
        f"`label_map: {line}` in the set's entry under `datasets:` of the configuration; with `folder=`, behind it, "
        f"{shlex.quote(f'label_map={line}')}; for `patchbank data check`, --label-map {shlex.quote(line)}"
    )


def _extended(spec: DatasetSpec, unknown: Sequence[int]) -> str:
    """The way out where the set has a label map already."""
    written: Map = {raw: to if to == IGNORE else spec.classes[to] for raw, to in (spec.label_map or {}).items()}
    written |= dict.fromkeys(spec.ignore, IGNORE)
    what = f"The masks hold {ranges(unknown)}, which the label map does not know"
    if len(written) > LONG:
        listed = ", ".join(repr(text) if "-" in text else text for text in ranges(unknown).split(", "))
        return (
            f"{what}: add them to it, or to the ignored values, as `ignore: [{listed}]` in the set's entry does alone."
        )
    return f"{what}: say what they mean, for example that they are ignored: {paste({**written, **_ignored(unknown)})}."


def _ignored(values: Sequence[int]) -> Map:
    return {int(text) if text.isdecimal() else text: IGNORE for text in ranges(values).split(", ") if text}


def _paired(values: Sequence[int], names: Sequence[str]) -> Map:
    return dict(zip(values, names, strict=True))


def _divided(common: Sequence[int], edges: Sequence[int], names: Sequence[str]) -> Map:
    """Two classes share all values by the middle between theirs; with more classes, edges are ignored."""
    if len(names) > 2:
        return {**_paired(common, names), **_ignored(edges)}
    middle = (common[0] + common[1]) // 2
    return {f"0-{middle}": names[0], f"{middle + 1}-{max(IGNORE, *common, *edges)}": names[1]}


def _listed(values: Sequence[int]) -> str:
    return f"the values {', '.join(map(str, values))}" if len(values) <= 20 else f"{len(values)} values"
