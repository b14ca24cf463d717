"""Stage `bank`: whether a bank is complete, its `bank.json`, and its joined view for other people's tools."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py

from patchbank.bank.coding import Coding
from patchbank.bank.format import AGAIN, cut, damaged_rows, images_of, row_fields, shard_name
from patchbank.bank.predecessors import same_values
from patchbank.datasets.manifest import Manifest
from patchbank.errors import UserError
from patchbank.files import atomic_path, read_json, sweep, write_json
from patchbank.leases import sweep_leases

LOG = logging.getLogger(__name__)


def finish(parts: Sequence[str | Path], manifest: str | Path, pointer: str | Path) -> None:
    """Check that every shard is there, write `bank.json`, the joined view `bank.h5`, and the pointer.

    The pointer is small and the same for the same bank, so that an unchanged bank reruns nothing that reads it.

    Args:
        parts: outputs of all extract jobs of the bank.
        manifest: output of the manifest stage.
        pointer: the file that later stages name; its key `bank` is the bank's folder, relative to the pointer.
    """
    done = [read_json(part) for part in parts]
    folder, record = Path(parts[0]).parent / done[0]["folder"], done[0]["record"]
    sweep_leases(folder)
    if any(other != done[0] for other in done):
        raise UserError(f"The parts of {folder} were made with different settings. {AGAIN}")
    ids = sorted(entry.id for entry in Manifest.load(manifest).entries(record["split"]))
    names = {shard_name(i): part for i, part in enumerate(cut(ids, record["shards"])) if part}
    missing = [name for name, part in names.items() if not present(folder, name, record, part)]
    if missing:
        raise UserError(f"{folder} misses {len(missing)} shard(s), first {missing[0]}. {AGAIN}")
    sweep(folder / name for name in (*names, "bank.json", "bank.h5"))
    contents = _join(folder, list(names), row_fields(record))
    write_json(folder / "bank.json", {**record, "ids": ids, "contents": contents})
    write_json(pointer, {"bank": pointed(folder, pointer), "record": record})


def present(folder: Path, name: str, record: Mapping[str, Any], ids: Sequence[str]) -> bool:
    """Whether the shard is complete here, or can be linked from a bank of the split with the same values.

    A shard is linked only when all its checksums match, so that damage is not inherited.

    Args:
        folder: the bank's folder.
        name: of the shard.
        record: of the bank.
        ids: sorted ids of the shard's images.
    """
    contents = same_values(record)
    if complete(folder / name, contents, ids):
        return True
    recipe = record["recipe"]["name"]
    # folders of other kinds, too: the backbone may have had another name
    for sibling in sorted(folder.parent.parent.glob(f"*/{recipe}-*/{name}")):
        if sibling.parent != folder and complete(sibling, contents, ids) and _sound(sibling, row_fields(record)):
            folder.mkdir(parents=True, exist_ok=True)
            _link(sibling, folder / name)
            LOG.info("%s: taken from %s", folder / name, sibling)
            return True
    return False


def _sound(path: Path, fields: Sequence[str]) -> bool:
    """Whether all rows of a shard match their checksums."""
    try:
        return not damaged_rows(path, fields)
    except (OSError, KeyError, RuntimeError) as error:
        LOG.warning("%s is damaged and not taken over (%s)", path, error)
        return False


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none; the target appears at once."""
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def pointed(folder: Path, pointer: str | Path) -> str:
    """How a pointer file names a bank's folder: relative to the pointer, or absolute where the bank's path is."""
    if folder.is_absolute():
        return str(folder)
    return os.path.relpath(folder.resolve(), Path(pointer).parent.resolve())


def complete(path: Path, contents: Sequence[str], ids: Sequence[str]) -> bool:
    """Whether a file is a whole shard of these images with one of these content hashes."""
    if not path.is_file():
        return False
    try:
        with h5py.File(path, "r") as shard:
            if not shard.attrs.get("complete") or shard.attrs.get("content") not in contents:
                return False
            return images_of(shard) == list(ids)
    except (OSError, KeyError, RuntimeError) as error:  # h5py's errors for damaged files
        LOG.warning("%s is not readable and will be computed again (%s)", path, error)
        return False


def _join(folder: Path, names: Sequence[str], fields: Sequence[str]) -> list[str]:
    """`bank.h5`: an HDF5 virtual dataset over the shards, for tools that are not ours; the shards' content hashes."""
    contents = set()
    with atomic_path(folder / "bank.h5") as temporary, h5py.File(temporary, "w", libver="latest") as joined:
        with h5py.File(folder / names[0], "r") as first:
            kinds = {n: (first[n].shape[1:], first[n].dtype) for n in (*fields, "crc")}
            for name, part in Coding.of(first).arrays.items():
                joined.create_dataset(name, data=part)
        counts = []
        for name in names:
            with h5py.File(folder / name, "r") as shard:
                counts.append(len(shard["image"]))
                contents.add(str(shard.attrs["content"]))
        for field_name, (shape, dtype) in kinds.items():
            layout = h5py.VirtualLayout((sum(counts), *shape), dtype)
            start = 0
            for name, count in zip(names, counts, strict=True):
                layout[start : start + count] = h5py.VirtualSource(name, field_name, (count, *shape))
                start += count
            joined.create_virtual_dataset(field_name, layout)
    return sorted(contents)
