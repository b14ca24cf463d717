"""A folder on a node's own disk: shards are written there and moved whole, trainings read copies of banks there.

The environment variable `PATCHBANK_SCRATCH` names it, each job reads it where it runs: ``'$TMPDIR'``, quoted, is what a
cluster gives to that job. Without it everything is written beside its target and read where it lies. What shapes
a bank does not change, nor do leases: a shard's is given back when the shard is in the bank's folder.

Whatever lies in scratch belongs to one process, carries its name, and goes with it; what a killed one left is
removed by the next extraction or training that uses the same folder. Of a process of before a reboot, or of another
host or container, only signs of life can tell: those a day old are left over. A copy that is only read shows them by a
lease inside.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from patchbank.alive import this_process
from patchbank.bank.format import AGAIN, cut, read_record, shard_name
from patchbank.errors import NO_ROOM, UserError
from patchbank.files import atomic_path, check_space, sweep
from patchbank.leases import Leases
from patchbank.paths import expand

LOG = logging.getLogger(__name__)
VARIABLE = "PATCHBANK_SCRATCH"
WAY_OUT = f"free some space there, or name another folder in {VARIABLE}, or none"
_SHARDS, _BANKS = "patchbank-shards", "patchbank-banks"
_COPIES: dict[Path, Path] = {}
"""Folders of the copies that this process reads, by the real folder of the bank."""


def scratch_folder() -> Path | None:
    """The folder that `PATCHBANK_SCRATCH` names; None where it is empty or not set.

    Raises:
        UserError: there is no such folder on this host, nothing can be written there, or a variable in it is not set.
    """
    named = os.environ.get(VARIABLE, "")
    if not named:
        return None
    try:
        folder = Path(expand(named))
    except UserError as error:
        raise UserError(f"{VARIABLE}: {error}") from None
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(
            f"{VARIABLE} names {folder}, which is no folder on {os.uname().nodename} that can be written to; "
            "make it, name another one, or unset the variable."
        )
    return folder


def check_scratch(needed: int) -> None:
    """Remove what killed processes left in scratch; `UserError` where it is none, or has no room for so many bytes."""
    folder = scratch_folder()
    if folder is not None:
        sweep([folder / _SHARDS, folder / _BANKS])
        check_space(folder, needed, WAY_OUT)


@contextmanager
def by_way_of_scratch(path: Path) -> Iterator[Path]:
    """As `patchbank.files.atomic_path`; where there is scratch, the file is written there and copied when it is whole.

    The copy lies under a temporary name beside `path`, is flushed to the disk and renamed.
    """
    folder = scratch_folder()
    if folder is None:
        with atomic_path(path) as temporary:
            yield temporary
        return
    with _folder_of_this_process(folder, _SHARDS) as mine:
        yield mine / path.name
        with atomic_path(path) as temporary:
            shutil.copyfile(mine / path.name, temporary)


@contextmanager
def copies(banks: Iterable[Path]) -> Iterator[None]:
    """While this is open, banks are read from copies in scratch (`copy_of`); without scratch, where they lie.

    One that has no room there is read where it lies, too, and the log says so.

    Args:
        banks: folders, or pointer files.

    Raises:
        UserError: a shard of a bank is missing where the bank lies.
    """
    scratch = scratch_folder()
    if scratch is None:
        yield
        return
    check_scratch(0)
    with _folder_of_this_process(scratch, _BANKS) as mine, Leases() as leases:
        leases.take(mine / "read")  # touched every few seconds, while the copies beside it are only read
        copied: list[Path] = []
        try:
            records = {folder.resolve(): record for folder, record in map(read_record, banks)}
            for number, (bank, record) in enumerate(records.items()):
                if bank not in _COPIES and _copy(bank, record, mine / str(number)):
                    _COPIES[bank] = mine / str(number)
                    copied.append(bank)
            yield
        finally:
            for bank in copied:
                del _COPIES[bank]


def copy_of(bank: Path) -> Path:
    """Where the shards of a bank's folder are read."""
    return _COPIES.get(bank.resolve(), bank) if _COPIES else bank


def _copy(bank: Path, record: Mapping[str, Any], target: Path) -> bool:
    """Copy a bank's shards; whether there was room."""
    shards = [bank / shard_name(index) for index, ids in enumerate(cut(record["ids"], record["shards"])) if ids]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise UserError(f"{bank} misses {len(missing)} shard(s), first {missing[0]}. {AGAIN}")
    target.mkdir()
    size, free = sum(shard.stat().st_size for shard in shards), shutil.disk_usage(target).free
    try:
        if size > 0.98 * free:
            raise OSError(NO_ROOM[0], os.strerror(NO_ROOM[0]))
        for shard in shards:
            shutil.copyfile(shard, target / shard.name)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        shutil.rmtree(target)
        LOG.warning("%s (%.1f GB) has no room in %s and is read where it lies", bank, size / 1e9, target.parent.parent)
        return False
    LOG.info("%s is read from a copy in %s", bank, target)
    return True


@contextmanager
def _folder_of_this_process(scratch: Path, what: str) -> Iterator[Path]:
    """A folder in scratch whose name says whose it is, so that `sweep` can tell; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f".{what}.{this_process()}.", suffix=".tmp", dir=scratch))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
