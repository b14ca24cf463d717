"""Formats of labels, one file each; a new file in this folder is a new format.

A module's name with hyphens is the format's (`yolo_seg` is ``--format yolo-seg``) and it defines

- `HELP`: one line, without a full stop: what is written, for which tools;
- `write(taken, folder, options)`: write every picture of `taken` into an empty folder that nobody sees yet, one at a
  time;
- optional `OPTIONS`: which of `--instances`, `--tolerance`, `--polygons`, `--image-prefix` it reads; others are
  refused;
- optional `LARGE = True`: it also writes rasters (`Picture.large`).
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from patchbank.exports.regions import Taken
from patchbank.exports.source import Category
from patchbank.files import short_name


@dataclass(frozen=True)
class FormatOptions:
    """What only some formats ask for.

    Attributes:
        polygons: polygons instead of masks (coco).
        image_prefix: what stands before a picture's file name where the tool looks for it (coco, label-studio).
    """

    polygons: bool = False
    image_prefix: str = ""


class Format(Protocol):
    """What a module of this folder is."""

    @property
    def HELP(self) -> str:
        """One line, without a full stop."""
        ...

    def write(self, taken: Taken, folder: Path, options: FormatOptions) -> None:
        """Write all pictures."""
        ...


def names() -> list[str]:
    """All formats, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def format_of(name: str) -> Format:
    """The format of that name."""
    module: Any = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    found: Format = module
    return found


def file_of(folder: Path, name: str, suffix: str) -> Path:
    """The file of picture `name` in `folder`, whose sub-folders are made; a name too long for its suffix is cut."""
    path = folder / f"{name}"
    path = path.with_name(short_name(path.name, suffix) + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def stream_list(path: Path, before: str, items: Iterable[Any], after: str) -> None:
    """Write a JSON list item by item.

    Args:
        path: the file, below a folder that nobody sees yet.
        before: text before the opening bracket.
        items: values of JSON, one line each.
        after: text after the closing bracket.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(f"{before}[")
        for number, item in enumerate(items):
            file.write(("," if number else "") + "\n" + compact(item))
        file.write(f"\n]{after}")


def compact(value: Any) -> str:
    """JSON on one line; NaN is refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def distinct_colours(categories: Iterable[Category]) -> list[tuple[int, int, int]]:
    """The categories' colours, changed a little where two are equal or one is black, which stands for none."""
    taken, found = {(0, 0, 0)}, []
    for category in categories:
        colour = next(shade for shade in _shades(category.colour) if shade not in taken)
        taken.add(colour)
        found.append(colour)
    return found


def _shades(colour: tuple[int, int, int]) -> Iterator[tuple[int, int, int]]:
    """The colour, and then ever further ones."""
    red, green, blue = colour
    for step in range(1 << 24):
        yield (red + 97 * step) % 256, (green + 53 * (step // 3)) % 256, (blue + 31 * (step // 2)) % 256
