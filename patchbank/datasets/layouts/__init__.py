"""How datasets lie on disk: one module per layout, found by its name; adding a layout means adding a file.

A layout module has:

- `EXPECTED_TREE`: text that shows the tree to a user whose set is not there;
- `find(spec) -> Listing`: for each split of `spec.splits` the triples (image, mask or None, instances or None). It
  lists folders (`patchbank.datasets.listing`) and reads lists (`patchbank.datasets.lists`); it never decodes an image.
  A listed file that is not there stays in the listing (the scan names it); a missing folder or list raises
  `missing_tree(...)` at once. Masks are needed for the split that is scored and optional elsewhere (`masks_needed`):
  the listing has the path where a mask is expected, whether it is there or not, and the scan takes an image whose mask
  is not there as unlabelled;
- optional `LISTS`: the values of a set's `images` that it knows (default: `all` only).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from patchbank.datasets.listing import LeftOut
from patchbank.datasets.pages import located
from patchbank.errors import UserError

if TYPE_CHECKING:
    from patchbank.datasets.spec import DatasetSpec

Item = tuple[Path, Path | None, Path | None]


class Listing(dict[str, list[Item]]):
    """The items of each split; `left_out` is what the searched folders hold beside them."""

    def __init__(self, splits: Mapping[str, list[Item]], left_out: Sequence[LeftOut] = ()) -> None:
        super().__init__(splits)
        self.left_out = tuple(dict.fromkeys(left_out))


class Layout(Protocol):
    """What a layout module provides."""

    EXPECTED_TREE: str

    def find(self, spec: DatasetSpec) -> Listing:
        """List the files of each split."""
        ...


def layout(name: str) -> Layout:
    """The layout module `name`; `UserError` lists the known names when there is none."""
    if name not in layout_names():
        raise UserError(f"There is no layout {name!r}; known: {', '.join(layout_names())}.")
    return cast(Layout, importlib.import_module(f"{__name__}.{name}"))


def check_layout(spec: DatasetSpec) -> None:
    """Raise `UserError` where the layout of `spec` does not exist or has no such list of images."""
    known: tuple[str, ...] = getattr(layout(spec.layout), "LISTS", ("all",))
    if spec.images not in known:
        raise UserError(f"images is {spec.images!r}, but layout {spec.layout} knows only {', '.join(known)}.")


def layout_names() -> list[str]:
    """Names of all layouts, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def missing_tree(spec: DatasetSpec, tree: str, problem: str) -> UserError:
    """The one error for a set that is missing, incomplete or ambiguous.

    Args:
        tree: the layout's `EXPECTED_TREE`.
        problem: what was found, with the exact path that was tried.
    """
    lines = [f"{spec.name}: {problem}", f"Expected below {spec.root} (layout {spec.layout}):"]
    lines += [f"    {line}" for line in tree.strip("\n").splitlines()]
    if spec.how_to_get:
        lines.append(f"How to get it: {spec.how_to_get}")
    lines.append("To use another folder: --config data_root=DIR (own images: folder=DIR), or `root` in config.yaml.")
    return UserError("\n".join(lines))


def masks_needed(spec: DatasetSpec, split: str) -> bool:
    """Whether the folder of masks of `split` must exist: in a set with classes, that of the split that is scored."""
    return bool(spec.classes) and split == spec.eval_split


def is_absent(path: Path) -> bool:
    """Whether nothing is at `path`; what cannot be looked at, and a link to nothing, is there (the scan names it)."""
    try:
        located(path)[0].lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    return False
