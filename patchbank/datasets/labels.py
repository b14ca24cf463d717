"""From raw mask values to class ids, and the class tables of the known sets.

A label map is one table: `classes = lut[mask]`, with 255 = ignore and -1 = a value that the map does not know (an
error). Replacing values one after the other in place is never done: it maps some values twice.

A class table is a YAML file under `tables/`: `classes` (a list of `{name, colour}`; class id = position), `ignore`
(raw values), `label_map` (raw value -> class id, absent = identity), `source`, `licence` and `get` (sentences for the
user). Adding a set means adding a file.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from patchbank.errors import UserError

IGNORE = 255
"""Class id of pixels that no score counts."""
UNKNOWN = -1
"""Entry of a look-up table for raw values that no map knows."""
TABLES = Path(__file__).parent / "tables"

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Table:
    """Class names, colours and label map of one known set (`tables/<name>.yaml`)."""

    name: str
    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignore: tuple[int, ...] = ()
    label_map: Mapping[int, int] | None = None
    source: str = ""
    licence: str = ""
    how_to_get: str = ""


def load_table(name: str) -> Table:
    """The class table `name`; `UserError` lists the known names when there is none."""
    path = TABLES / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"There is no class table {name!r}; known: {', '.join(table_names())}.")
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = content["classes"]
    label_map = content.get("label_map")
    return Table(
        name=name,
        classes=tuple(str(row["name"]) for row in rows),
        colours=tuple((row["colour"][0], row["colour"][1], row["colour"][2]) for row in rows),
        ignore=tuple(content.get("ignore", ())),
        label_map=None if label_map is None else {int(raw): int(to) for raw, to in label_map.items()},
        source=str(content.get("source", "")).strip(),
        licence=str(content.get("licence", "")).strip(),
        how_to_get=str(content.get("get", "")).strip(),
    )


def table_names() -> list[str]:
    """Names of all class tables, sorted."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def build_lut(classes: int, label_map: Mapping[int, int] | None = None, ignore: Sequence[int] = ()) -> list[int]:
    """The look-up table of a label map.

    Args:
        classes: number of classes.
        label_map: raw value -> class id (or 255 = ignore); None = raw value i is class i for i < `classes`.
        ignore: raw values that map to 255, whatever the default map says; 255 itself always does.

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


def unknown_values(raw: NDArray[Any], lut: Sequence[int] | NDArray[Any]) -> list[int]:
    """The values of `raw` (any integer array) that `lut` does not know, ascending."""
    table = np.asarray(lut)
    values = np.unique(raw)
    inside = (values >= 0) & (values < len(table))
    known = inside & (table[np.where(inside, values, 0)] != UNKNOWN)
    return [int(value) for value in values[~known]]


def apply_lut(raw: NDArray[Any], lut: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
    """`lut[raw]` as class ids.

    Args:
        raw: (H, W) unsigned raw values.
        lut: table as `build_lut` makes it.

    Returns:
        (H, W) uint8, 255 = ignore.

    Raises:
        ValueError: a raw value that the table does not know (the message names the values).
    """
    table = np.asarray(lut, dtype=np.int16)
    mapped = table.take(raw, mode="clip")
    if raw.size and (int(mapped.min()) < 0 or int(raw.max()) >= len(table)):
        raise ValueError(describe_unknown(unknown_values(raw, table), table))
    return mapped.astype(np.uint8)


def describe_unknown(values: Sequence[int], lut: Sequence[int] | NDArray[Any]) -> str:
    """A sentence such as ``"value 37 is not in the label map (known: 0-22, 255)"``."""
    shown = ", ".join(str(value) for value in values[:8]) + (f" and {len(values) - 8} more" if len(values) > 8 else "")
    known = ranges([raw for raw, to in enumerate(lut) if to != UNKNOWN])
    subject = f"value {shown} is" if len(values) == 1 else f"values {shown} are"
    return f"{subject} not in the label map (known: {known})"


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
