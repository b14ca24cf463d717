"""Fetch a whole set: each archive that has something that is not there yet, one after the other.

All work happens in `<root>/.fetch/`, on the same disk as the target: partial downloads stay there for the next run, and
what is unpacked there is renamed into place in one step. A folder that exists is therefore complete, or the user's own,
and is left alone. An archive is removed once its parts are in place.
"""

from __future__ import annotations

import logging
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.alive import Process, this_process
from patchbank.errors import UserError
from patchbank.fetch.download import Expected, download
from patchbank.fetch.unpack import BadArchive, unpack
from patchbank.files import left_over, write_text
from patchbank.leases import Leases, holder
from patchbank.yaml_text import parse_yaml

LOG = logging.getLogger(__name__)
TABLES = Path(__file__).parent / "tables"
WORK = ".fetch"
UNPACKED = "unpack-"
VOC = Path("VOCdevkit/VOC2012")


@dataclass(frozen=True)
class Archive:
    """One file on the web.

    Attributes:
        url: its address.
        name: its name here; default: the address's last part.
        place: part of the archive -> path below the set's root, see `patchbank.fetch.unpack`.
        expected: what is published about it.
    """

    url: str
    name: str
    place: Mapping[str, str]
    expected: Expected


@dataclass(frozen=True)
class FetchTable:
    """Where a set comes from.

    Attributes:
        name: the table's name.
        root: the set's folder below the data root.
        page: where people find it.
        archives: what is fetched; empty for a set behind a log-in.
        login: for such a set, what to do by hand.
        then: name of a last step in `STEPS`, or "".
    """

    name: str
    root: str
    page: str
    archives: tuple[Archive, ...] = ()
    login: str = ""
    then: str = ""


def table_names() -> list[str]:
    """Names of all tables, sorted."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def load_fetch_table(name: str) -> FetchTable:
    """The table `name`; `UserError` lists the known names when there is none."""
    path = TABLES / f"{name}.yaml"
    if name not in table_names():
        raise UserError(f"There is no set {name!r} to fetch; known: {', '.join(table_names())}.")
    content: dict[str, Any] = parse_yaml(path.read_text(encoding="utf-8"))
    archives = tuple(_archive(entry) for entry in content.pop("archives", ()))
    return FetchTable(name=name, archives=archives, **content)


def fetch(table: FetchTable, data_root: Path, pause: Callable[[float], None] = time.sleep) -> None:
    """Bring everything that `table` names and that is not there yet below `data_root`.

    Args:
        table: what and from where.
        data_root: the set goes to `data_root/table.root`.
        pause: waits so many seconds between attempts of a download.

    Raises:
        UserError: the set needs a log-in, a download or an archive fails (what arrived is kept for the next run), or
            another process fetches the same set.
    """
    root = data_root / table.root
    if table.login:
        raise UserError(f"{table.name} cannot be fetched from here. Go to {table.page}: {table.login} Target: {root}")
    with _work_folder(root) as work:
        for archive in table.archives:
            missing = {part: to for part, to in archive.place.items() if not (root / to).exists()}
            if not missing:
                LOG.info("%s: %s is there already", table.name, ", ".join(archive.place.values()))
                continue
            file = work / archive.name
            if not file.exists():
                LOG.info("%s: fetching %s", table.name, archive.url)
                if archive.expected.algorithm is None:
                    LOG.warning("%s: no checksum of %s is published; it is not verified", table.name, archive.name)
                download(archive.url, file, archive.expected, pause)
            _place(file, missing, root, work)
            file.unlink(missing_ok=True)
        if table.then:
            STEPS[table.then](root)
    LOG.info("%s: complete in %s", table.name, root)


def _place(file: Path, place: Mapping[str, str], root: Path, work: Path) -> None:
    """Unpack `place` beside the target and rename it into place."""
    with _own_folder(work) as name:
        folder = Path(name)
        try:
            unpack(file, place, folder)
        except BadArchive:
            file.unlink()
            raise
        for to in place.values():
            (root / to).parent.mkdir(parents=True, exist_ok=True)
            try:
                (folder / to).rename(root / to)
            except FileNotFoundError:
                raise UserError(f"{folder} was removed by another process while {file} was unpacked there.") from None


def _own_folder(work: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for what this process unpacks, which its name says."""
    return tempfile.TemporaryDirectory(prefix=f"{UNPACKED}{this_process()}.", dir=work)


def _sweep(work: Path) -> None:
    """Remove what processes that are gone had unpacked. One that only seemed gone finds nothing, instead of a part."""
    for stale in list(work.glob(f"{UNPACKED}*")):
        writer = Process.parse(stale.name.removeprefix(UNPACKED).rpartition(".")[0])
        if writer is None or left_over(stale, writer):
            with _own_folder(work) as rubbish:
                stale.rename(Path(rubbish) / "stale")


@contextmanager
def _work_folder(root: Path) -> Iterator[Path]:
    """`root/.fetch`, for this process alone; removed afterwards where nothing is left in it."""
    work = root / WORK
    work.mkdir(parents=True, exist_ok=True)
    try:
        with Leases() as leases:
            if not leases.take(work / "set"):
                by = holder(work / "set")
                raise UserError(f"Another process fetches to {root}{f' ({by.told})' if by else ''}; wait for it.")
            _sweep(work)
            yield work
    finally:
        with suppress(OSError):  # not empty: partial files wait for the next run
            work.rmdir()


def write_trainaug(root: Path) -> None:
    """VOC's list `trainaug`: every image with a mask in SegmentationClassAug that is not in `val` (10,582)."""
    lists = root / VOC / "ImageSets" / "Segmentation"
    if (lists / "trainaug.txt").exists():
        return
    if not (lists / "val.txt").is_file():
        raise UserError(f"{lists / 'val.txt'} does not exist; take it from the archive, or name another --data-root.")
    val = set((lists / "val.txt").read_text(encoding="utf-8").split())
    names = sorted({path.stem for path in (root / VOC / "SegmentationClassAug").glob("*.png")} - val)
    write_text(lists / "trainaug.txt", "".join(f"{name}\n" for name in names))
    LOG.info("voc: trainaug.txt names %d images", len(names))


STEPS: dict[str, Callable[[Path], None]] = {"trainaug": write_trainaug}


def _archive(entry: Mapping[str, Any]) -> Archive:
    algorithm = next((name for name in ("sha256", "md5") if name in entry), None)
    expected = Expected(entry.get("size"), algorithm, str(entry[algorithm]) if algorithm else None)
    name = entry.get("name") or Path(urllib.parse.urlsplit(entry["url"]).path).name
    return Archive(entry["url"], name, dict(entry["place"]), expected)
