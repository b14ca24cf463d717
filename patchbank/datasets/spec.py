"""What the configuration says about one dataset: where it lies, how it is laid out, and what its labels mean.

A `DatasetSpec` is the only thing that the rest of this room needs to know. `make_spec` builds one from the values of
`config.yaml` and the set's class table (`tables/<table>.yaml`); values that the user gives win over the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patchbank.datasets.labels import Colour, Table, build_lut, default_colours, load_table
from patchbank.errors import UserError


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset as configured.

    Attributes:
        name: the set's name in the configuration; shown in messages and used in output paths.
        layout: name of a module of `patchbank.datasets.layouts`.
        root: the folder that holds the set.
        classes: class names, class id = position; empty = unlabelled (masks are then not read).
        colours: one RGB triple (0-255) a class.
        train_split: name of the split that heads and clusters are fitted on.
        eval_split: name of the split that is scored.
        label_map: raw mask value -> class id (255 = ignore); None = raw value i is class i.
        ignore: raw values that are not scored; 255 always is one.
        how_to_get: one or two sentences on where the set comes from, shown when it is missing.
    """

    name: str
    layout: str
    root: Path
    classes: tuple[str, ...] = ()
    colours: tuple[Colour, ...] = ()
    train_split: str = "train"
    eval_split: str = "val"
    label_map: Mapping[int, int] | None = None
    ignore: tuple[int, ...] = field(default=())
    how_to_get: str = ""

    def __post_init__(self) -> None:
        if len(self.colours) != len(self.classes):
            raise UserError(f"{self.name}: {len(self.colours)} colours for {len(self.classes)} classes; give one each.")
        repeated = sorted({name for name in self.classes if self.classes.count(name) > 1})
        if repeated:
            raise UserError(f"{self.name}: class names must differ; given more than once: {', '.join(repeated)}.")
        self.lut()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that are read: train, then eval (one, when both are the same)."""
        return tuple(dict.fromkeys((self.train_split, self.eval_split)))

    def lut(self) -> list[int]:
        """The label look-up table, see `patchbank.datasets.labels.build_lut`; `UserError` for an impossible map."""
        try:
            return build_lut(len(self.classes), self.label_map, self.ignore)
        except UserError as error:
            raise UserError(f"{self.name}: {error}") from None


def make_spec(
    name: str,
    layout: str,
    root: str | Path,
    table: str | None = None,
    classes: Sequence[str] = (),
    colours: Sequence[Sequence[int]] = (),
    train_split: str = "train",
    eval_split: str = "val",
    label_map: Mapping[int, int] | None = None,
    ignore: Sequence[int] | None = None,
) -> DatasetSpec:
    """A `DatasetSpec` from configuration values, completed from a class table.

    Args:
        table: name of a table in `tables/`, or None; `classes`, `colours`, `label_map` and `ignore` win over it.
        classes: class names; with own classes the table's colours, map and ignore values no longer apply.
        colours: RGB triples; without them every class gets a distinguishable colour.

    Raises:
        UserError: the table does not exist, or the values contradict each other.

    Example:
        >>> make_spec("msrc", "voc", "data/msrc", table="msrc").classes[:2]
        ('building', 'grass')
    """
    known = load_table(table) if table is not None and not classes else Table(name="", classes=(), colours=())
    names = tuple(classes) or known.classes
    shades = tuple(_colour(name, colour) for colour in colours) or known.colours or default_colours(len(names))
    return DatasetSpec(
        name=name,
        layout=layout,
        root=Path(root),
        classes=names,
        colours=shades,
        train_split=train_split,
        eval_split=eval_split,
        label_map=known.label_map if label_map is None else {int(raw): int(to) for raw, to in label_map.items()},
        ignore=known.ignore if ignore is None else tuple(int(raw) for raw in ignore),
        how_to_get=known.how_to_get,
    )


def _colour(name: str, value: Sequence[int]) -> Colour:
    if len(value) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in value):
        raise UserError(f"{name}: colour {list(value)} is not three whole numbers from 0 to 255.")
    return (value[0], value[1], value[2])
