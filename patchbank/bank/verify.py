"""`patchbank verify` and `patchbank info`: what a bank holds, and whether every row still matches its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from patchbank.bank.format import FIELDS, cut, read_record, row_crc, shard_name
from patchbank.bank.reader import Bank
from patchbank.errors import raise_problems
from patchbank.progress import track


def verify_bank(path: str | Path) -> int:
    """Read every row of a bank and compare its checksum; return the number of rows.

    Raises:
        UserError: one message with every shard that is missing or unreadable and every row that differs.
    """
    folder, record = read_record(path)
    problems: list[str] = []
    rows = 0
    parts = [(i, ids) for i, ids in enumerate(cut(record["ids"], record["shards"])) if ids]
    for index, _ in track(parts, "verify", "shard"):
        shard_path = folder / shard_name(index)
        try:
            with h5py.File(shard_path, "r") as shard:
                bad = list(_bad_rows(shard))
                rows += len(shard["image"])
        except (OSError, KeyError) as error:
            problems.append(f"{shard_path} is not readable ({error})")
            continue
        problems += [f"{shard_path}: row {row} (image {image}) does not match its checksum" for row, image in bad]
    raise_problems(f"{folder} is damaged", problems, "Delete the named files and run the extract stage again.")
    return rows


def _bad_rows(shard: h5py.File) -> Iterator[tuple[int, str]]:
    expected = shard["crc"][:]
    for row in range(len(expected)):
        if row_crc({name: np.asarray(shard[name][row]) for name in FIELDS}) != int(expected[row]):
            yield row, shard["image"][row].decode(errors="replace")


def describe_bank(path: str | Path) -> str:
    """A page about a bank: what it holds, its size, and its record."""
    bank = Bank(path)
    record = bank.record
    size = sum(file.stat().st_size for file in bank.folder.glob("[0-9]*.h5"))
    backbone, recipe = record["backbone"], record["recipe"]
    lines = [
        f"bank       {bank.folder}",
        f"set        {record['dataset']} / {record['split']}: {len(bank.images)} images, {record['shards']} shard(s)",
        f"backbone   {backbone['name']} ({backbone['model']}), block {backbone['block']}, "
        f"{'final norm' if backbone['norm'] else 'no final norm'}, {record['precision']}",
        f"weights    SHA-256 {backbone['sha256']}",
        f"recipe     {recipe['name']}: {bank.draws} draw(s) of {bank.views} view(s), {bank.input_size[0]}x"
        f"{bank.input_size[1]} pixels, grid {bank.grid[0]}x{bank.grid[1]}",
        f"tokens     ({len(bank)}, {bank.views}, {bank.tokens_per_view}, {bank.dim}) {record['dtype']}",
        f"size       {size / 1e6:.1f} MB",
        f"format     {record['format']}, written by patchbank {record['package']}",
    ]
    return "\n".join(lines)
