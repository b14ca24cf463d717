"""What the configuration says about one dataset: where it lies, how it is laid out, and what its labels mean.

A `DatasetSpec` is the only thing that the rest of this room needs to know. `make_spec` builds one from the values of
`config.yaml` and the set's class table (`tables/<table>.yaml`); values that the user gives win over the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from patchbank.datasets.classes import Table, load_table
from patchbank.datasets.depth import Treatment
from patchbank.datasets.directions import Directions
from patchbank.datasets.labels import IGNORE, Colour, LabelRule, build_lut, default_colours, parse_map, parse_values
from patchbank.errors import UserError

GREY: Colour = (128, 128, 128)
ImageList = Literal["all", "annotated", "curated"]
"""Which images of a set are used; other lists than `all` exist for COCO only."""


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset as configured.

    Attributes:
        name: the set's name in the configuration; shown in messages and used in output paths.
        layout: name of a module of `patchbank.datasets.layouts`.
        root: the folder that holds the set.
        classes: class names, class id = position; empty = unlabelled (masks are then not read).
        colours: one RGB triple (0-255) a class.
        things: whether each class is a thing (else stuff); empty where the set makes no such difference.
        train_split: name of the split that heads and clusters are fitted on.
        eval_split: name of the split that is scored.
        label_map: raw mask value -> class id (255 = ignore); None = raw value i is class i.
        ignore: raw values that are not scored; 255 always is one.
        label_rule: how the map is applied, see `patchbank.datasets.labels`.
        images: which images are used.
        published: split -> published number of images of this set with these `images`; empty where unknown.
        tiles: side in pixels of the tiles that TIFFs are cut into; 0 = none is cut.
        states_255: whether the configuration, or a published table, says what 255 in a mask means.
        how_to_get: one or two sentences on where the set comes from, shown when it is missing.
    """

    name: str
    layout: str
    root: Path
    classes: tuple[str, ...] = ()
    colours: tuple[Colour, ...] = ()
    things: tuple[bool, ...] = ()
    train_split: str = "train"
    eval_split: str = "val"
    label_map: Mapping[int, int] | None = None
    ignore: tuple[int, ...] = ()
    label_rule: LabelRule = "lut"
    images: ImageList = "all"
    published: Mapping[str, int] = field(default_factory=dict)
    how_to_get: str = ""
    states_255: bool = False

    treatment: Treatment = field(default_factory=Treatment)
    tiles: int = 0

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


class SetValues(TypedDict, total=False):
    """What the configuration may say about a set besides where it lies; every key may be left out.

    Attributes:
        table: name of a table in `tables/`, or None; `classes`, `colours`, `label_map` and `ignore` win over it.
        classes: class names; with own classes the table's colours, map and ignore values no longer apply.
        colours: RGB triples; without them every class gets a distinguishable colour.
        train_split, eval_split: names of the splits, by default ``train`` and ``val``.
        label_map: raw mask value or range (``"0-6"``) -> class id, class name, or 255 (ignore).
        ignore: raw mask values or ranges that are not scored.
        images: which images are used, by default ``all``.
        depth: how deep, floating-point and many-banded pictures become 8-bit RGB: `scale`, `per`, `window`, `bands`.
        tiles: side in pixels of the tiles that TIFFs are cut into, by default 0, none.
    """

    table: str | None
    classes: Sequence[str]
    colours: Sequence[Sequence[int]]
    train_split: str
    eval_split: str
    label_map: Mapping[Any, int | str] | None
    ignore: Sequence[int | str] | None
    images: ImageList
    depth: Mapping[str, Any]
    tiles: int


def make_spec(name: str, layout: str, root: str | Path, **values: Unpack[SetValues]) -> DatasetSpec:
    """A `DatasetSpec` from configuration values, completed from a class table.

    Raises:
        UserError: the table does not exist, or the values contradict each other.

    Example:
        >>> make_spec("msrc", "voc", "data/msrc", table="msrc").classes[:2]
        ('building', 'grass')
    """
    if unknown := values.keys() - SetValues.__annotations__.keys():
        raise TypeError(f"make_spec() got {', '.join(sorted(unknown))}, which no set has.")
    table, classes, images = values.get("table"), values.get("classes", ()), values.get("images", "all")
    known = load_table(table).coded(layout) if table is not None else Table(name="", classes=(), colours=())
    published = known.published.get(images, {})
    if classes:
        known = Table(name="", classes=(), colours=(), how_to_get=known.how_to_get)
    names = tuple(classes) or known.classes
    shades = tuple(_colour(name, colour) for colour in values.get("colours", ()))
    try:
        mapping, ignored = _meaning(known, names, values)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return DatasetSpec(
        name=name,
        layout=layout,
        root=Path(root),
        classes=names,
        colours=shades or known.colours or _default_colours(names),
        things=known.things,
        train_split=values.get("train_split", "train"),
        eval_split=values.get("eval_split", "val"),
        label_map=mapping,
        ignore=ignored,
        label_rule=known.label_rule if values.get("label_map") is None else "lut",
        images=images,
        published=dict(published),
        how_to_get=known.how_to_get,
        treatment=_treatment(name, values.get("depth", {})),
        tiles=values.get("tiles", 0),
        states_255=(table is not None and not classes) or IGNORE in (*ignored, *(mapping or ())),
    )


def _default_colours(names: Sequence[str]) -> tuple[Colour, ...]:
    """Colours of classes that have none; a background is grey, so that objects stand out."""
    found = default_colours(len(names))
    return tuple(GREY if name.lower() == "background" else colour for name, colour in zip(names, found, strict=True))


def _treatment(name: str, given: Mapping[str, Any]) -> Treatment:
    """How deep pictures are treated; `UserError` for values that contradict each other."""
    scale, window, bands = given.get("scale"), given.get("window"), given.get("bands") or ()
    if (scale == "window") != (window is not None) or (window is not None and not window[0] < window[1]):
        raise UserError(
            f"{name}: depth has scale {scale} and window {window}; scale `window` takes `window: [black, white]`, the "
            "smaller first, and no other does."
        )
    if bands == "pca" and scale in ("full", "window"):
        raise UserError(
            f"{name}: depth has bands pca and scale {scale}; values along directions have no range of their type, so "
            "take percentile or minmax."
        )
    if bands != "pca" and (isinstance(bands, str) or len(bands) not in (0, 1, 3)):
        shown = bands if isinstance(bands, str) else list(bands)
        raise UserError(
            f"{name}: depth has bands {shown}; name one for grey or three for red, green and blue, or write pca."
        )
    limits = None if window is None else (float(window[0]), float(window[1]))
    return Treatment(scale, given.get("per", "set"), limits, Directions() if bands == "pca" else tuple(bands))


def _meaning(known: Table, names: Sequence[str], values: SetValues) -> tuple[Mapping[int, int] | None, tuple[int, ...]]:
    """Label map and ignored values; the one that the user gives wins over the other of the table."""
    label_map, ignore = values.get("label_map"), values.get("ignore")
    ignored = known.ignore if ignore is None else tuple(parse_values(list(ignore)))
    mapping = known.label_map if label_map is None else parse_map(label_map, names)
    if label_map is not None and ignore is None:
        ignored = tuple(raw for raw in ignored if raw not in (mapping or {}))
    elif label_map is None and mapping is not None:
        mapping = {raw: to for raw, to in mapping.items() if raw not in ignored}
    return mapping, ignored


def _colour(name: str, value: Sequence[int]) -> Colour:
    if len(value) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in value):
        raise UserError(f"{name}: colour {list(value)} is not three whole numbers from 0 to 255.")
    return (value[0], value[1], value[2])
