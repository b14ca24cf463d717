"""The class tables of the known sets: names, colours, things and stuff, label maps, ignored values, published sizes.

Tables are data: one YAML file a family under `tables/`. A family has the keys `source`, `licence` and `get` (sentences
for the user), `published` (list -> split -> number of images; the list is `all` where the set has one only),
`codings`, and `tables` (name -> table); a file without `tables` is itself the table of its name. A table has

| key | meaning |
|---|---|
| `classes` | rows `{name, colour, raw}` or names, id = position; `raw`: value, range or list (none: raw i is class i) |
| `csv`, `column` | instead of `raw`: class of each `raw_id` in a CSV (-1 = ignore, empty = the value never occurs) |
| `names` | class id -> name, for classes of a CSV that join several raw values; other names are the CSV's own |
| `things` | class ids that are things, the others are stuff; absent = the set makes no such difference |
| `ignore` | raw values that are not scored |
| `of` | the name of another table, which the next three keys change |
| `order`, `keep`, `rule` | its classes' new ids; the class ids to keep (or `things`, `stuff`); how the map is applied |

`codings` says how the masks of another layout are numbered: `{<layout>: {shift: 1, ignore: [0]}}` adds 1 to each raw
value. Colours that are not given are generated (`patchbank.datasets.labels.default_colours`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from patchbank.datasets.labels import IGNORE, Colour, LabelRule, default_colours, parse_values
from patchbank.errors import UserError
from patchbank.yaml_text import parse_yaml

TABLES = Path(__file__).parent / "tables"


@dataclass(frozen=True)
class Coding:
    """How the masks of one layout differ from the table: `shift` is added to raw values, `ignore` are further ones."""

    shift: int
    ignore: tuple[int, ...]


@dataclass(frozen=True)
class Table:
    """One class table; see the module.

    Attributes:
        name: name of the table.
        classes: class names, id = position.
        colours: RGB triple of each class.
        things: whether each class is a thing; empty where the set makes no difference.
        ignore: raw values that are not scored.
        label_map: raw value -> class id (255 = ignore); None = raw value i is class i.
        label_rule: how the map is applied.
        published: list -> split -> published number of images.
        codings: layout -> how its masks are numbered.
        source: where class names and maps come from.
        licence: licence of the images.
        how_to_get: sentences for the user.
    """

    name: str
    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    things: tuple[bool, ...] = ()
    ignore: tuple[int, ...] = ()
    label_map: Mapping[int, int] | None = None
    label_rule: LabelRule = "lut"
    published: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    codings: Mapping[str, Coding] = field(default_factory=dict)
    source: str = ""
    licence: str = ""
    how_to_get: str = ""

    def coded(self, layout: str) -> Table:
        """The table for the masks of `layout`."""
        coding = self.codings.get(layout)
        if coding is None:
            return self
        moved = {raw + coding.shift: to for raw, to in self._map().items() if raw != IGNORE}
        ignored = (raw + coding.shift for raw in self.ignore if raw != IGNORE)
        return replace(self, label_map=moved, ignore=(*ignored, *coding.ignore))

    def kept(self, wanted: Sequence[int]) -> Table:
        """The classes `wanted` (ids) in this order; the raw values of the others are ignored."""
        position = {old: new for new, old in enumerate(wanted)}
        return replace(
            self,
            classes=tuple(self.classes[old] for old in wanted),
            colours=tuple(self.colours[old] for old in wanted),
            things=tuple(self.things[old] for old in wanted) if self.things else (),
            label_map={raw: position.get(to, IGNORE) for raw, to in self._map().items()},
        )

    def _map(self) -> Mapping[int, int]:
        return {raw: raw for raw in range(len(self.classes))} if self.label_map is None else self.label_map


def load_table(name: str) -> Table:
    """The class table `name`; `UserError` lists the known names when there is none."""
    if name not in _written():
        raise UserError(f"There is no class table {name!r}; known: {', '.join(table_names())}.")
    return _load(name)


def table_names() -> list[str]:
    """Names of all class tables, sorted."""
    return sorted(_written())


@cache
def _written() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """(family, table) of each name, as the files say."""
    found = {}
    for path in sorted(TABLES.glob("*.yaml")):
        family: dict[str, Any] = parse_yaml(path.read_text(encoding="utf-8"))
        for name, table in family.get("tables", {path.stem: family}).items():
            found[name] = (family, table)
    return found


@cache
def _load(name: str) -> Table:
    family, written = _written()[name]
    if "of" in written:
        return replace(_derived(_load(written["of"]), written), name=name)
    names, colours, label_map = _classes(written)
    things = written.get("things")
    flags = set() if things is None else set(parse_values(things))
    return Table(
        name=name,
        classes=names,
        colours=colours,
        things=() if things is None else tuple(index in flags for index in range(len(names))),
        ignore=tuple(parse_values(written.get("ignore", []))),
        label_map=label_map,
        published=family.get("published", {}),
        codings={
            layout: Coding(coding["shift"], tuple(parse_values(coding["ignore"])))
            for layout, coding in family.get("codings", {}).items()
        },
        source=str(family["source"]).strip(),
        licence=str(family["licence"]).strip(),
        how_to_get=str(family["get"]).strip(),
    )


def _derived(table: Table, written: Mapping[str, Any]) -> Table:
    """`table` as the keys `order`, `keep` and `rule` change it."""
    if "order" in written:
        # the file says where each class goes, `kept` which class stands at each place
        table = table.kept(sorted(range(len(table.classes)), key=written["order"].__getitem__))
    keep = written.get("keep")
    if isinstance(keep, str):
        keep = [index for index, thing in enumerate(table.things) if thing == (keep == "things")]
    if keep is not None:
        table = table.kept(keep)
    return replace(table, label_rule=written.get("rule", table.label_rule))


def _classes(written: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Colour, ...], dict[int, int] | None]:
    """Names, colours and label map (None = identity) of a table."""
    rows = [row if isinstance(row, dict) else {"name": row} for row in written.get("classes", [])]
    names = [str(row["name"]) for row in rows]
    label_map: dict[int, int] | None = None
    if "csv" in written:
        label_map, csv_names = _read_csv(TABLES / written["csv"], written["column"])
        names = names or [written.get("names", {}).get(index, csv_names[index]) for index in sorted(csv_names)]
    elif any("raw" in row for row in rows):
        label_map = {raw: index for index, row in enumerate(rows) for raw in parse_values(row["raw"])}
    given = tuple((row["colour"][0], row["colour"][1], row["colour"][2]) for row in rows if "colour" in row)
    return tuple(names), given or default_colours(len(names)), label_map


def _read_csv(path: Path, column: str) -> tuple[dict[int, int], dict[int, str]]:
    """Raw value -> class id or 255, and the name of the first raw value of each class."""
    label_map: dict[int, int] = {}
    names: dict[int, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row[column]:
                to = int(row[column])
                label_map[int(row["raw_id"])] = IGNORE if to < 0 else to
                if to >= 0:
                    names.setdefault(to, row["name"])
    return label_map, names
