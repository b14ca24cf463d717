"""What is a picture and what is left out: the one rule for every folder that is searched.

Layouts of datasets and `patchbank segment` list folders with a `Search`. A name that says what a file is decides at
once, so that a large folder costs no more than its listing; of every other file the first bytes do. Nothing is dropped
without a word: what is no input is kept in `Search.left_out`, and whoever searches says so (`told`).

| what | becomes |
|---|---|
| a file with a picture's suffix (`SUFFIXES`, any case), or one that is refused by name later (`UNREAD`) | picture |
| a file of several pages | each page a picture (`patchbank.datasets.pages`) |
| a file or folder whose name starts with a dot, `SIDE_FOLDERS` | left out |
| files that people and systems keep beside pictures (`SIDE_SUFFIXES`, `SIDE_NAMES`) | left out |
| any other file: its first bytes are those of a picture format (`is_picture`) | picture, else left out |
| a link to a folder | followed, once; left out where it leads back |
| what patchbank wrote (`WRITTEN`, results folders), known by the record beside it | left out |

Names are compared in Unicode's composed form (NFC), because systems store the same name in different forms.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patchbank.datasets.formats import SUFFIXES, UNREAD, is_picture, without_suffix
from patchbank.datasets.pages import located, pages

SIDE_SUFFIXES = frozenset(
    (
        *(".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".css", ".js"),
        *(".db", ".ini", ".log", ".toml", ".cfg", ".lnk", ".url", ".tmp", ".part", ".bak", ".md5", ".sha256", ".lock"),
        *(".py", ".ipynb", ".sh", ".m", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"),
        *(".npy", ".npz", ".h5", ".hdf5", ".pt", ".pth", ".pkl", ".safetensors", ".onnx"),
        *(".mp4", ".avi", ".mov", ".mkv", ".wav", ".mp3", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx"),
        *(".jgw", ".jpgw", ".pgw", ".pngw", ".tfw", ".tifw", ".bpw", ".wld", ".prj", ".ovr", ".geojson", ".shp"),
        ".dbf",
    )
)
"""Ends of the names of files that people keep beside pictures; world files and overviews of maps among them."""
SIDE_NAMES = frozenset({"thumbs.db", "desktop.ini", "icon\r"})
SIDE_FOLDERS = frozenset(
    {"@eadir", "__macosx", "__pycache__", "lost+found", "$recycle.bin", "system volume information"}
)
OUTPUTS = ("labels", "overlays", "soft")
"""Folders that `patchbank segment` writes beside its `legend.json`."""
WRITTEN = {
    "legend.json": (b'"no_id"', OUTPUTS, "outputs of patchbank segment"),
    "pca.json": (b'"encoder"', ("pictures",), "outputs of patchbank pca"),
}
"""By the record of a command: what it holds, the folders that are written beside it, and what these are."""
SOFTWARE = "patchbank"
"""What every picture that patchbank draws says of itself; `images` refuses such a one as an image."""
PAGED = (".tif", ".tiff", ".dcm", ".dicom")
"""Ends of the names of files that may hold several pages."""
_NAMED = frozenset((*SUFFIXES, *UNREAD))
SHOWN = 3
"""Names that are shown of what is left out for one reason."""


@dataclass(frozen=True)
class LeftOut:
    """Something in a searched folder that is no input.

    Attributes:
        path: what it is.
        reason: a few words, the same for all of its kind, e.g. ``"side files"``.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class Content:
    """What one folder holds, each part sorted by name.

    Attributes:
        pictures: files that are pictures, or are refused by name later.
        folders: sub-folders, links to folders among them.
        left_out: everything else.
        results: whether patchbank's results lie here.
    """

    pictures: tuple[Path, ...]
    folders: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]
    results: bool


@dataclass
class Search:
    """Lists folders by the one rule; each is read once, and what is left out of it is noted once.

    Attributes:
        left_out: what is no input, in the order in which it was seen.
    """

    left_out: list[LeftOut] = field(default_factory=list)
    _listed: dict[Path, Content] = field(default_factory=dict)
    _noted: set[Path] = field(default_factory=set)

    def content(self, folder: Path) -> Content:
        """What `folder` holds; OSError where it cannot be listed."""
        content = self._list(folder)
        if folder not in self._noted:
            self._noted.add(folder)
            self.left_out += content.left_out
        return content

    def holds_results(self, folder: Path) -> bool:
        """Whether patchbank's results lie in `folder`, which is then left out as a whole unless a user names it."""
        return self._list(folder).results

    def _list(self, folder: Path) -> Content:
        if folder not in self._listed:
            self._listed[folder] = _list(folder)
        return self._listed[folder]

    def pictures(self, folder: Path) -> list[Path]:
        """The pictures in `folder` itself."""
        return list(self.content(folder).pictures)

    def below(self, top: Path, skip: Mapping[Path, str] | None = None) -> list[Path]:
        """The pictures in `top` and in all folders below it, sorted; each folder once, however many links lead to it.

        Args:
            skip: folders that are not entered, each with the words that tell why ("": nothing is said).
        """
        skipped = {_identity(folder): why for folder, why in (skip or {}).items() if folder.exists()}
        above = {_identity(folder) for folder in top.resolve().parents}
        seen: set[tuple[int, int]] = set()
        pictures: list[Path] = []
        waiting, links = [top], list[Path]()
        while waiting or links:
            folder = (waiting or links).pop(0)
            try:
                identity = _identity(folder)
                if identity in skipped:
                    if skipped[identity]:
                        self.leave(folder, skipped[identity])
                    continue
                if identity in seen or identity in above:
                    self.leave(folder, "links to folders that are read already, or that lead back")
                    continue
                seen.add(identity)
                if folder != top and self.holds_results(folder):
                    self.leave(folder, "results of patchbank")
                    continue
                content = self.content(folder)
            except OSError as error:
                if folder == top:
                    raise
                self.leave(folder, f"folders that cannot be read ({error.strerror})")
                continue
            pictures += content.pictures
            for inner in content.folders:
                (links if inner.is_symlink() else waiting).append(inner)
        return sorted(pictures, key=str)

    def leave(self, path: Path, reason: str) -> None:
        """Note that `path` is no input."""
        self.left_out.append(LeftOut(path, reason))


def output_of(folder: Path) -> str:
    """What the pictures in `folder` are, where a command wrote them as the record above it says; "" where none did."""
    return _outputs(folder.parent, WRITTEN).get(folder.name, "")


def state_of(path: Path) -> str:
    """What tells whether the file at `path` (of a link: its target, of a page: its file) is still as it was read.

    Size, time of modification, time of change (both in nanoseconds) and number of the file: the first two are kept by
    `cp -p`, `rsync -a`, archives and `touch -r`, the time of change is the system's own. "" where there is no file.
    """
    try:
        status = os.stat(str(located(path)[0]))  # noqa: PTH116 (a third quicker than the path's own)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def stem(name: str) -> str:
    """What pairs an image with its mask: the name without image suffix, in Unicode's composed form."""
    return unicodedata.normalize("NFC", without_suffix(name))


def by_stem(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Paths by the `stem` of their names."""
    stems: dict[str, list[Path]] = {}
    for path in paths:
        stems.setdefault(stem(path.name), []).append(path)
    return stems


def alike(paths: Sequence[Path]) -> str:
    """Names of paths that have one stem, for a message; names that look the same are shown by code points."""
    names = [path.name for path in paths]
    looks = {unicodedata.normalize("NFC", name) for name in names}
    if len(looks) == len(names):
        return f"{' and '.join(names)} have the same stem"
    return f"{' and '.join(map(ascii, names))} are one name in two Unicode forms"


def told(left_out: Sequence[LeftOut], root: Path) -> Iterator[str]:
    """What was left out, one text a reason, e.g. ``"side files (2): Thumbs.db, notes.txt"``."""
    for reason, names in by_reason(left_out, root).items():
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        yield f"{reason} ({len(names):,}): {', '.join(names[:SHOWN])}{more}"


def by_reason(left_out: Sequence[LeftOut], root: Path) -> dict[str, list[str]]:
    """Printable names, relative to the root, of what was left out for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in left_out:
        reasons.setdefault(one.reason, []).append(printable(relative(root, one.path)))
    return reasons


def relative(root: Path, path: Path) -> str:
    """`path` relative to the root, with slashes; as it is where it lies elsewhere."""
    # text, because paths cost seconds where there are many; `str` of a path is half of `os.fspath`
    top, text = str(root), str(path)
    if text.startswith(top) and top != "/":
        return text[len(top) + 1 :] if text[len(top) : len(top) + 1] == "/" else text
    return text[1:] if top == "/" and text.startswith("/") else text


def printable(name: str) -> str:
    """`name` with bytes that are not UTF-8 written as escapes, so that it can be printed and logged."""
    if name.isascii():  # most names; asked several times of every file of a set
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _list(folder: Path) -> Content:
    with os.scandir(folder) as opened:
        entries = sorted(opened, key=lambda entry: entry.name)
    names = {entry.name for entry in entries}
    outputs = _outputs(folder, names)
    pictures: list[Path] = []
    folders: list[Path] = []
    left_out: list[LeftOut] = []
    for entry in entries:
        path = folder / entry.name
        reason = _side(entry.name)
        named = entry.name[entry.name.rfind(".") :].lower() in _NAMED
        if reason:
            left_out.append(LeftOut(path, reason))
        elif named:  # whatever it is: a folder or a pipe of such a name is refused by name
            pictures += _pages(path)
        elif _is_folder(entry):
            if entry.name in outputs:
                left_out.append(LeftOut(path, outputs[entry.name]))
            else:
                folders.append(path)
        elif is_picture(path):
            pictures += pages(path)
        else:
            left_out.append(LeftOut(path, "files that are no pictures"))
    results = "manifest.json" in names and _written_by_us(folder / "manifest.json", b'"patchbank-manifest-')
    return Content(tuple(pictures), tuple(folders), tuple(left_out), results or _remembers(folder, names))


def _outputs(folder: Path, names: Container[str]) -> dict[str, str]:
    """What the sub-folders of `folder` are that a command wrote, by their names; `names` are those of its files."""
    found: dict[str, str] = {}
    for record, (mark, outputs, what) in WRITTEN.items():
        if record in names and _written_by_us(folder / record, mark):
            found |= dict.fromkeys(outputs, what)
    return found


def _pages(path: Path) -> list[Path]:
    """The pictures in a file that has a picture's suffix; only those of formats with pages are opened."""
    return pages(path) if path.name.lower().endswith(PAGED) else [path]


def _side(name: str) -> str:
    """Why nothing of this name is an input; "" where the name does not say so."""
    lower = name.lower()
    if lower in SIDE_FOLDERS or lower in SIDE_NAMES or lower[lower.rfind(".") :] in SIDE_SUFFIXES:
        return "side files"
    return "hidden files" if name.startswith(".") else ""


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _written_by_us(path: Path, mark: bytes) -> bool:
    """Whether the JSON file at `path` holds the mark that patchbank writes into such files."""
    try:
        with path.open("rb") as file:
            return mark in file.read(1 << 20)
    except OSError:
        return False


def _remembers(folder: Path, names: set[str]) -> bool:
    """Whether scans keep their memory here, as they do in a results folder."""
    if ".scan" not in names:
        return False
    try:
        kept = next((path for path in sorted((folder / ".scan").iterdir())), None)
    except OSError:
        return False
    return kept is not None and _written_by_us(kept, b'"patchbank-scan-')
