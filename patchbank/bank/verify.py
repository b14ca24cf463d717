"""`patchbank verify` and `patchbank info`: what a bank holds, and whether rows match checksums and sums rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from patchbank.bank.coding import Coding
from patchbank.bank.format import (
    AGAIN,
    contents_of,
    cut,
    damaged_rows,
    images_of,
    made_and_kept,
    read_record,
    row_fields,
    shard_name,
)
from patchbank.bank.reader import Bank
from patchbank.bank.sums import Sums
from patchbank.errors import raise_problems
from patchbank.progress import track

ROWS = 8
"""Rows of a shard whose tokens are added up at a time."""
ROUNDING = 1e-6


def verify_bank(path: str | Path) -> int:
    """Read every row of a bank: is every shard its own, are its images the right ones, do checksums and sums match?

    Returns:
        Number of rows.

    Raises:
        UserError: one message with every shard that is missing, foreign or unreadable and every row that differs.
    """
    folder, record = read_record(path)
    problems: list[str] = []
    kept: list[str] = []
    rows = 0
    parts = [(i, ids) for i, ids in enumerate(cut(record["ids"], record["shards"])) if ids]
    for index, ids in track(parts, "verify", "shard"):
        shard_path = folder / shard_name(index)
        try:
            with h5py.File(shard_path, "r") as shard:
                belongs = shard.attrs.get("complete") and shard.attrs.get("content") in contents_of(record)
                same, count = images_of(shard) == ids, len(shard["image"])
                coded = "coding" not in record or Coding.of(shard).sha256 == record["coding"]["sha256"]
                added_up = _sums_agree(shard)
            bad = damaged_rows(shard_path, row_fields(record))
        except (OSError, KeyError) as error:
            problems.append(f"{shard_path} is not readable ({error})")
            continue
        rows += count
        if not belongs:
            problems.append(f"{shard_path} is not a complete shard of this bank")
        if not coded:
            problems.append(f"{shard_path}: what its tokens are coded with (token_...) is not what bank.json says")
        if not same:
            problems.append(f"{shard_path} holds other images than bank.json says")
        problems += [f"{shard_path}: row {row} (image {image}) does not match its checksum" for row, image in bad]
        if not added_up and not bad:
            problems.append(f"{shard_path}: its sums, which the statistics are made of, are not those of its tokens")
        if belongs and same and (bad or not coded or not added_up):
            kept.append(shard_path.name)
    raise_problems(f"{folder} is damaged", problems, made_and_kept(kept) + AGAIN)
    return rows


def _sums_agree(shard: h5py.File) -> bool:
    """Whether a shard's sums are those of its tokens, as readers are given them; those of a GPU differ by rounding."""
    if "sum" not in shard:
        return True
    coding, added = Coding.of(shard), None
    for start in range(0, len(shard["tokens"]), ROWS):
        tokens = np.asarray(shard["tokens"][start : start + ROWS])
        if coding.step is not None:
            codes, tokens = tokens, np.empty(tokens.shape, np.float32)
            coding.decode_into(codes, tokens)
        part = Sums.of(tokens.reshape(-1, tokens.shape[-1]))
        added = part if added is None else added + part
    kept = Sums.load(shard)
    if added is None or kept.count != added.count:
        return added is None and kept.count == 0
    limit = ROUNDING * np.sqrt(added.square * added.count)
    close = np.abs(kept.total - added.total) <= limit
    return bool(close.all() and np.allclose(kept.square, added.square, rtol=ROUNDING, atol=0))


def _grid(bank: Bank) -> str:
    has_tokens = {"tokens", "last_values"} & set(bank.fields)
    return f", grid {bank.grid[0]}x{bank.grid[1]}" if has_tokens else ""


def _features(bank: Bank) -> Iterator[tuple[str, NDArray[Any]]]:
    """Stored features, as one row that stands for all; none of an empty bank."""
    if not bank.images:
        return
    row = bank.read([0], [name for name in bank.fields if name not in ("boxes", "flip", "image")])
    yield from ((name, np.broadcast_to(value, (len(bank), *value.shape[1:]))) for name, value in row.items())


def _coding(record: Mapping[str, Any]) -> str:
    """What tokens are stored as, where they are coded."""
    kept = record["coding"]["pca"]
    what = f"{kept} directions of tokens" if kept else "tokens"
    return f"{what} stored as {record['dtype']}, fitted on {record['coding']['fitted_on']}"


def describe_bank(path: str | Path) -> str:
    """A page about a bank: what it holds, its size, and its record."""
    bank = Bank(path)
    record = bank.record
    size = sum(file.stat().st_size for file in bank.folder.glob("[0-9]*.h5"))
    backbone, recipe = record["backbone"], record["recipe"]
    if bank.images:
        height, width = bank.input_size
        views = f"{bank.draws} draw(s) of {bank.views} view(s), {height}x{width} pixels{_grid(bank)}"
    else:
        views = "nothing is stored: the bank holds no image"
    lines = [
        f"bank       {bank.folder}",
        f"set        {record['dataset']} / {record['split']}: {len(bank.images)} images, {record['shards']} shard(s)",
        f"backbone   {backbone['name']} ({backbone['model']}), block {backbone['block']}, "
        f"{'final norm' if backbone['norm'] else 'no final norm'}, {record['precision']}",
        f"weights    SHA-256 {backbone['sha256']}",
        f"recipe     {recipe['name']}: {views}",
        *(f"{name:<10} {value.shape} {value.dtype}" for name, value in _features(bank)),
        *(["coding     " + _coding(record)] if "coding" in record else []),
        f"size       {size / 1e6:.1f} MB",
        f"format     {record['format']}, code {record['code']}",
    ]
    return "\n".join(lines)
