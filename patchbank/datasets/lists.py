"""Lists of images, in the dialects that people publish them in.

One image a line; blank lines, Windows line ends, a byte order mark and a missing last newline do not matter, and what
starts with `#` is a comment where no image is called so. A line is

- a name, with or without suffix, with or without the folders in front (`a`, `a.jpg`, `/JPEGImages/a.jpg`,
  `VOC2012/JPEGImages/a.jpg`, whatever the folder above is called here), or an absolute path inside the set;
- two of these, the image and its mask (DeepLab's lists), divided by blanks, a tab, a comma or a semicolon;
- a name and 1, 0 or -1 (the lists of PASCAL VOC for one class): the images with 1 are taken, the others left out.

A line that is the name of an image as a whole is one, whatever it holds, so that names may have blanks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from patchbank.datasets.formats import without_suffix
from patchbank.datasets.listing import Search, by_stem, stem
from patchbank.errors import UserError


class Shelf:
    """The files of one folder by name.

    Args:
        search: what lists folders.
        folder: the folder, there or not.
        suffix: of a file that is not there, for the path at which it is expected.

    Attributes:
        files: paths by `patchbank.datasets.listing.stem`.
    """

    def __init__(self, search: Search, folder: Path, suffix: str = ".png") -> None:
        self.search, self.folder, self.suffix = search, folder, suffix
        self.files = by_stem(search.pictures(folder)) if folder.is_dir() else {}

    def one(self, name: str) -> Path:
        """The file called `name`, whose suffix decides between several; else the path where it is expected."""
        paths = self.files.get(stem(name), [])
        plain = without_suffix(name)
        return paths[0] if len(paths) == 1 else self.folder / (name if name != plain else f"{plain}{self.suffix}")


@dataclass(frozen=True)
class Listed:
    """One line: the image and, where the line or the folder of masks names one, the path of its mask."""

    image: Path
    mask: Path | None


def read_list(path: Path, root: Path, images: Shelf, masks: Shelf | None) -> list[Listed]:
    """The images that a list names, in its order; one that is not there keeps the path where it is expected.

    Args:
        path: the list.
        root: the set's folder, which no name may leave.
        images: the folder of the images.
        masks: the folder of the masks, None where there are none.

    Raises:
        UserError: a line of three columns or more, or a list whose images are all marked with 0 or -1.
    """
    reader = _Reader(path, root, images, masks)
    entries = [listed for line in parse_list(path.read_bytes()) for listed in reader.read(line)]
    if reader.marked and not entries:
        raise UserError(f"{path} marks every image with 0 or -1, so it names none; write one name a line.")
    return entries


def parse_list(data: bytes) -> list[str]:
    """Lines of a list file: blank lines, Windows line ends and a missing last newline are all read.

    Bytes that are not UTF-8 survive as surrogates, as in file names.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    names = (line.strip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return [name for name in names if name]


@dataclass
class _Reader:
    """Reads the lines of one list; `marked` tells whether it has marked images left out."""

    path: Path
    root: Path
    images: Shelf
    masks: Shelf | None
    marked: bool = False

    def read(self, line: str) -> list[Listed]:
        """The image of a line, if it names one."""
        columns = [column for column in re.split(r"[\s,;]+", line) if column]
        image = self._find(line, self.images)
        if image is None and line.startswith("#"):
            return []
        if image is None and len(columns) > 1 and (first := self._find(columns[0], self.images, True)) is not None:
            return self._pair(line, first, columns)
        if image is None and len(columns) == 1:
            image = self._find(line, self.images, True)
        image = image or self.images.one(line)  # the scan names what is not there
        return [Listed(image, self._mask_of(image))]

    def _pair(self, line: str, image: Path, columns: Sequence[str]) -> list[Listed]:
        """What a line of two columns says, of which the first names `image`."""
        second = columns[1]
        if len(columns) == 2 and second in ("1", "0", "-1") and second != columns[0]:
            if second == "1":
                return [Listed(image, self._mask_of(image))]
            self.marked = True
            self.images.search.leave(image, f"images that {self.path.name} marks with 0 or -1")
            return []
        if len(columns) > 2 or re.fullmatch(r"[-+.\d]+", second):
            raise UserError(
                f"{self.path}: the line {line!r} has {len(columns)} columns, of which the first names an image; "
                "write one image a line, image and mask, or image and 1 (0 and -1: not taken)."
            )
        if stem(second) in self.images.files and self.images.one(second) != image:
            raise UserError(
                f"{self.path}: the line {line!r} names two images; write one a line, or image and mask with its folder."
            )
        if self.masks is None:
            return [Listed(image, None)]
        mask = self._find(second, self.masks, True)
        if mask is None:  # the scan names what is not there; a mask in another folder is another mask
            mask = (self.images.folder.parent if "/" in second else self.masks.folder) / second.lstrip("/")
        return [Listed(image, mask)]

    def _mask_of(self, image: Path) -> Path | None:
        """The mask of the image's own name, in the same sub-folder."""
        if self.masks is None:
            return None
        inside = image.is_relative_to(self.images.folder)
        name = image.relative_to(self.images.folder).as_posix() if inside else image.name
        return self.masks.one(without_suffix(name))

    def _find(self, name: str, shelf: Shelf, elsewhere: bool = False) -> Path | None:
        """The file that `name` means, by itself or with folders in front; None where there is none.

        Args:
            elsewhere: whether the first folders may be those of the place where the list was made.
        """
        if stem(name) in shelf.files:
            return shelf.one(name)
        parts = PurePosixPath(name if "/" in name else name.replace("\\", "/")).parts
        if len(parts) < 2 or ".." in parts or "\0" in name:
            return None
        relative = PurePosixPath(*(part for part in parts if part != "/"))
        if parts[0] == "/" and PurePosixPath(name).is_relative_to(self.root.absolute()):
            return _in(self.root / PurePosixPath(name).relative_to(self.root.absolute()), shelf)
        starts = (shelf.folder, *(folder for folder in shelf.folder.parents if self._near(folder)))
        tails = [PurePosixPath(*relative.parts[first:]) for first in range(len(parts) - 1)]
        candidates = (
            _in(folder / tail, shelf)
            for tail in (tails if elsewhere and parts[0] != "/" else tails[:1])
            for folder in starts
            if (folder / tail).is_relative_to(self.root)
        )
        return next((path for path in candidates if path is not None), None)

    def _near(self, folder: Path) -> bool:
        """Whether this is the root, a folder in it, or the one above (whose name for the root a list may give)."""
        return folder.is_relative_to(self.root) or folder == self.root.parent


def _in(path: Path, shelf: Shelf) -> Path | None:
    """The file at `path`, with or without suffix."""
    if path.parent == shelf.folder:
        return shelf.one(path.name) if stem(path.name) in shelf.files else None
    if not path.parent.is_dir():
        return None
    paths = by_stem(shelf.search.content(path.parent).pictures).get(stem(path.name), [])
    return next((one for one in paths if one.name == path.name), paths[0] if len(paths) == 1 else None)
