"""`patchbank export bank`: a bank for tools that do not know its shards.

| format | files | who reads it |
|---|---|---|
| `npy` | `<field>.npy`, `images.csv` | NumPy, everything; `np.load(mmap_mode="r")` reads rows without the rest |
| `zarr` | `bank.zarr` (version 3), one chunk a sample | zarr, xarray, dask; also over a network |
| `parquet` | `tokens.parquet`, one line a patch; `images.parquet` | pyarrow, DuckDB, Polars, vector stores |

Rows have the bank's order. Values are those that `patchbank.open_bank` reads: what is stored, but where a bank stores
its tokens in 8 bits, the float32 values that they stand for. Parquet holds float32, which every reader knows.
`bank.json` is the bank's record, and says under `exported` which dtype each field has here. One block of samples is in
memory at a time, the folder appears as a whole, and checksums are compared on the way.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.bank.reader import Bank, open_bank
from patchbank.datasets.manifest import Manifest, manifest_above
from patchbank.errors import UserError
from patchbank.exports.folder import check_target, write_record
from patchbank.files import atomic_folder, check_space, write_json
from patchbank.progress import track

NEEDED = {"npy": "", "zarr": "zarr", "parquet": "pyarrow"}
"""Package that a format needs, also the name of the extra but for `parquet`."""
BLOCK = 1 << 25
"""Bytes of a block of samples."""
Blocks = Iterator[tuple[int, dict[str, NDArray[Any]]]]


def export_bank(bank: str | Path, out: str | Path, kind: str, overwrite: bool = False) -> tuple[int, list[str]]:
    """Write a bank in another format into a new folder.

    Args:
        bank: its folder, `bank.json`, or the pipeline's pointer.
        out: the folder to write; an earlier export of the same bank is written anew.
        kind: a key of `NEEDED`.
        overwrite: write over another export, too.

    Returns:
        Number of samples, and the fields that were written.

    Raises:
        UserError: a package is missing, there is no room, a checksum differs, or `out` holds something else.
    """
    package = NEEDED[kind]
    if package and find_spec(package) is None:
        raise UserError(f"--format {kind} needs {package}; install it with `pip install 'patchbank[{kind}]'`.")
    opened, target = open_bank(bank, check=True), Path(out)
    if kind == "parquet" and "tokens" not in opened.fields:
        raise UserError(f"{opened.folder} holds no tokens ({', '.join(opened.fields)}); choose npy or zarr.")
    record = {"run": str(bank), "format": f"bank-{kind}", "bank": json.loads(json.dumps(dict(opened.record)))}
    check_target(target, record, overwrite)
    fields = [name for name in opened.fields if name != "image"]
    row = opened.read([0], fields)
    size = sum(value.nbytes for value in row.values())
    wider = 2 if kind == "parquet" and opened.dtype.itemsize == 2 else 1
    check_space(target.absolute().parent, wider * size * len(opened), "name a folder on another disk with --out")
    write: Callable[[Bank, Path, Blocks, Mapping[str, NDArray[Any]], Sequence[str]], None]
    write = {"npy": _write_npy, "zarr": _write_zarr, "parquet": _write_parquet}[kind]
    with atomic_folder(target) as folder:
        write(opened, folder, _blocks(opened, fields, max(1, BLOCK // max(1, size))), row, _names(bank, opened))
        dtypes = {
            name: "float32" if kind == "parquet" and name in ("tokens", "cls") else str(value.dtype)
            for name, value in row.items()
            if kind != "parquet" or name in ("tokens", "cls")
        }
        write_json(folder / "bank.json", {**opened.record, "exported": dtypes})
        write_record(folder, record)
        check_target(target, record, overwrite)
    return len(opened), list(dtypes)


def _blocks(bank: Bank, fields: Sequence[str], size: int) -> Blocks:
    """First sample and fields of consecutive blocks."""
    for start in track(range(0, len(bank), size), "export", "block"):
        yield start, bank.read(np.arange(start, min(start + size, len(bank))), fields)


def _names(path: str | Path, bank: Bank) -> list[str]:
    """The file of each image, "" where no manifest stands above the pointer that was named."""
    manifest = manifest_above(Path(path).absolute(), 1) if Path(path).is_file() else None
    if manifest is None:
        return [""] * len(bank.images)
    splits = Manifest.load(manifest).splits.values()
    known = {entry.id: entry.image for entries in splits for entry in entries}
    return [known.get(image, "") for image in bank.images]


def _write_npy(bank: Bank, folder: Path, blocks: Blocks, row: Mapping[str, NDArray[Any]], names: Sequence[str]) -> None:
    shapes = {name: (len(bank), *value.shape[1:]) for name, value in row.items()}
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", row[name].dtype, shape)
        for name, shape in shapes.items()
    }
    for start, block in blocks:
        for name, values in block.items():
            arrays[name][start : start + len(values)] = values
    for array in arrays.values():
        array.flush()
    with (folder / "images.csv").open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["sample", "image", "draw", "file"])
        for sample in range(len(bank)):
            index = sample // bank.draws
            lines.writerow([sample, bank.images[index], sample % bank.draws, names[index]])


def _write_zarr(
    bank: Bank, folder: Path, blocks: Blocks, row: Mapping[str, NDArray[Any]], names: Sequence[str]
) -> None:
    import zarr

    group = zarr.open_group(str(folder / "bank.zarr"), mode="w", zarr_format=3)
    group.attrs["images"], group.attrs["files"], group.attrs["draws"] = bank.images, list(names), bank.draws
    arrays = {}
    for name, value in row.items():
        shape, chunk = (len(bank), *value.shape[1:]), (1, *value.shape[1:])
        # float16 features compress to 0.9 at a third of the speed
        arrays[name] = group.create_array(name, shape=shape, chunks=chunk, dtype=value.dtype, compressors=None)
    for start, block in blocks:
        for name, values in block.items():
            arrays[name][start : start + len(values)] = values


def _write_parquet(
    bank: Bank, folder: Path, blocks: Blocks, row: Mapping[str, NDArray[Any]], names: Sequence[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    views, count, dim = row["tokens"].shape[1:]
    height, width = bank.grid
    vector, number = pa.list_(pa.float32(), dim), pa.int32()
    places = [("image", pa.string()), ("file", pa.string()), ("draw", number), ("view", number)]
    of_tokens = pa.schema([*places, ("row", number), ("column", number), ("token", vector)])
    of_images = pa.schema([*places, *([("cls", vector)] if "cls" in row else [])])

    def vectors(values: NDArray[Any]) -> Any:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), dim)

    with (
        pq.ParquetWriter(folder / "tokens.parquet", of_tokens) as tokens,
        pq.ParquetWriter(folder / "images.parquet", of_images) as images,
    ):
        for start, block in blocks:
            samples = np.arange(start, start + len(block["tokens"])).repeat(views)
            rows, view = (
                (samples // bank.draws).tolist(),
                np.tile(np.arange(views, dtype=np.int32), len(block["tokens"])),
            )
            about = [
                [bank.images[i] for i in rows],
                [names[i] for i in rows],
                (samples % bank.draws).astype(np.int32),
            ]
            cls = [vectors(block["cls"])] if "cls" in row else []
            images.write_table(pa.table([*about, view, *cls], schema=of_images))
            each = np.repeat(np.arange(len(samples)), count)
            spread = [pa.array(column).take(pa.array(each)) for column in (*about, view)]
            place = np.tile(np.arange(count, dtype=np.int32), len(samples))
            columns = [*spread, place // width, place % width, vectors(block["tokens"])]
            tokens.write_table(pa.table(columns, schema=of_tokens))
    assert height * width == count
