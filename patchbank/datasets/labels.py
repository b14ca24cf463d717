"""From raw mask values to class ids: label maps as look-up tables.

A label map is one table: `classes = lut[mask]`, with 255 = ignore and -1 = a value that the map does not know (an
error). Replacing values one after the other in place maps some values twice; it exists as the rule `sequential`, to
repeat what AlignSeg's published code does to COCO, and nowhere else (`sequential_lut`).

A raw value of -1 in a signed mask is what 255 is in an 8-bit one (Cityscapes calls it so), and is ignored like it.
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.unusable import Unusable
from patchbank.errors import UserError

IGNORE = 255
"""Class id of pixels that no score counts."""
NOT_IN_MAP = "not in the label map"
"""Words by which a sentence about unknown values is known."""
UNKNOWN = -1
"""Entry of a look-up table for raw values that no map knows."""

Colour = tuple[int, int, int]
LabelRule = Literal["lut", "sequential"]
"""How a look-up table is applied: each pixel by itself, or value after value in place (`sequential_lut`)."""


def parse_values(written: Any) -> list[int]:
    """Whole numbers as configuration and tables write them: ``7``, ``"7"``, ``"0-6"``, or a list of these.

    Raises:
        UserError: anything else, or a range whose end comes before its start.

    Example:
        >>> parse_values(["0-2", 9])
        [0, 1, 2, 9]
    """
    if isinstance(written, list | tuple):
        return [value for part in written for value in parse_values(part)]
    match = None if isinstance(written, bool) else re.fullmatch(r"(-?\d+)(?:-(\d+))?", str(written).strip())
    if match is None or (match[2] is not None and int(match[2]) < int(match[1])):
        raise UserError(f"{written!r} is neither a raw value such as 7 nor a range such as '0-6'.")
    return list(range(int(match[1]), int(match[2] or match[1]) + 1))


def parse_map(written: Mapping[Any, int | str], classes: Sequence[str]) -> dict[int, int]:
    """A label map as the configuration writes it.

    Args:
        written: raw value or range -> class name, class id, or 255 (ignore); a name wins over a number.
        classes: class names, id = position.

    Returns:
        raw value -> class id or 255.

    Raises:
        UserError: a class name that does not exist, or a raw value that two entries map differently.
    """
    mapping: dict[int, int] = {}
    for key, to in written.items():
        if isinstance(to, str) and to not in classes and to.isdecimal():
            to = int(to)  # Snakemake's command line passes every value of a mapping as text
        if isinstance(to, str) and to not in classes:
            raise UserError(f"label_map: {key} -> {to!r}, but the classes are {', '.join(classes) or 'not named'}.")
        target = classes.index(to) if isinstance(to, str) else to
        for raw in parse_values(key):
            if mapping.setdefault(raw, target) != target:
                raise UserError(f"label_map: raw value {raw} is mapped to {mapping[raw]} and to {target}; keep one.")
    return mapping


def build_lut(classes: int, label_map: Mapping[int, int] | None = None, ignore: Sequence[int] = ()) -> list[int]:
    """The look-up table of a label map.

    Args:
        classes: number of classes.
        label_map: raw value -> class id (or 255 = ignore); None = raw value i is class i for i < `classes`.
        ignore: raw values that map to 255, whatever the default map says; 255 itself always does, and so does -1.

    Returns:
        One class id a raw value: 0 .. classes-1, 255 = ignore, -1 = unknown. At least 256 long; longer when a raw
        value above 255 is mapped (16-bit masks).

    Raises:
        UserError: too many classes, a class id that does not exist, or a raw value both mapped and ignored.
    """
    if classes > IGNORE:
        raise UserError(f"{classes} classes are too many: class ids are 0 to 254, and 255 means ignore.")
    mapping = {raw: raw for raw in range(classes) if raw not in ignore} if label_map is None else dict(label_map)
    for raw, to in mapping.items():
        if not 0 <= raw <= 65535:
            raise UserError(f"label_map: raw value {raw} cannot stand in a mask; use 0 to 65535.")
        if not (0 <= to < classes or to == IGNORE):
            raise UserError(f"label_map: {raw} -> {to}, but class ids are 0 to {classes - 1} (255 = ignore).")
    ignore = [raw for raw in ignore if raw != -1]
    for raw in ignore:
        if not 0 <= raw <= 65535:
            raise UserError(f"ignore: raw value {raw} cannot stand in a mask; use 0 to 65535.")
        if mapping.get(raw, IGNORE) != IGNORE:
            raise UserError(f"raw value {raw} is both in label_map (class {mapping[raw]}) and in ignore; keep one.")
    mapping = {IGNORE: IGNORE} | mapping | dict.fromkeys(ignore, IGNORE)
    lut = [UNKNOWN] * (max(IGNORE, *mapping) + 1)
    for raw, to in mapping.items():
        lut[raw] = to
    return lut


def sequential_lut(present: Sequence[int], lut: Sequence[int]) -> list[int]:
    """The table that AlignSeg's replacement in place amounts to, in an image that holds just these raw values.

    The values are replaced one after the other, ascending; a pixel that became a value still to come is replaced
    again, so that with a bird in the image (raw 15) every person (raw 0, first replaced by 15) becomes an animal.

    Args:
        present: raw values of the image.
        lut: table as `build_lut` makes it.

    Returns:
        A table of the same length; entries of values that are not present mean nothing.
    """
    table = np.arange(len(lut))
    for value in sorted(present):
        if 0 <= value < len(lut):  # `apply_lut` names the others
            table[table == value] = lut[value]
    return [int(to) for to in table]


def unknown_values(raw: NDArray[Any], lut: Sequence[int] | NDArray[Any]) -> list[int]:
    """The values of `raw` (any integer array) that `lut` does not know, ascending."""
    table = np.asarray(lut)
    values = np.unique(_unsigned(raw))
    inside = (values >= 0) & (values < len(table))
    known = inside & (table[np.where(inside, values, 0)] != UNKNOWN)
    return [int(value) for value in values[~known]]


def apply_lut(raw: NDArray[Any], lut: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
    """`lut[raw]` as class ids.

    Args:
        raw: (H, W) raw values of any integer type.
        lut: table as `build_lut` makes it.

    Returns:
        (H, W) uint8, 255 = ignore.

    Raises:
        ValueError: a raw value that the table does not know (the message names the values).
    """
    table = np.asarray(lut, dtype=np.int16)
    values = _unsigned(raw)
    mapped = table.take(values, mode="clip")
    if raw.size and (int(mapped.min()) < 0 or int(values.max()) >= len(table) or int(values.min()) < 0):
        raise ValueError(describe_unknown(unknown_values(raw, table), table))
    return mapped.astype(np.uint8)


def _unsigned(raw: NDArray[Any]) -> NDArray[Any]:
    """`raw` with 255 in place of -1."""
    return np.where(raw == -1, IGNORE, raw) if raw.dtype.kind == "i" else raw


def instance_ids(raw: NDArray[Any]) -> NDArray[np.int32]:
    """Ids (H, W) of instances as int32, from any integer type; `Unusable` names the first that it cannot hold."""
    limits = np.iinfo(np.int32)
    beyond = raw[(raw > limits.max) | (raw < limits.min)]
    if beyond.size:
        raise Unusable(f"holds instance id {beyond[0]}, and ids go up to {limits.max}; number the instances from 1 on")
    return raw.astype(np.int32)


def describe_unknown(values: Sequence[int], lut: Sequence[int] | NDArray[Any]) -> str:
    """A sentence such as ``"value 37 is not in the label map (known: 0-22, 255)"``."""
    shown = ", ".join(str(value) for value in values[:8]) + (f" and {len(values) - 8} more" if len(values) > 8 else "")
    known = ranges([raw for raw, to in enumerate(lut) if to != UNKNOWN])
    subject = f"value {shown} is" if len(values) == 1 else f"values {shown} are"
    return f"{subject} {NOT_IN_MAP} (known: {known})"


def ranges(values: Sequence[int]) -> str:
    """Ascending whole numbers in short, ``"0-22, 255"``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    return ", ".join("-".join(str(end) for end in run) for run in runs)


def default_colours(classes: int) -> tuple[Colour, ...]:
    """`classes` distinguishable colours for sets without a palette: hues by the golden angle, three brightnesses."""
    colours = []
    for index in range(classes):
        hue = (0.02 + index * 0.618034) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.75, 0.55, 0.9)[index % 3], (0.95, 0.75, 0.6)[index // 3 % 3])
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colours)
