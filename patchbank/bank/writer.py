"""Writing one shard: rows in order, sums and checksums beside them, visible only when complete.

HDF5 makes the file and lays out its datasets; rows go to their places in the file directly, several at a time, because
HDF5 does one thing at a time in a process while the system's writes and checksums do not hold each other up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from patchbank.bank.coding import Coding
from patchbank.bank.format import FORMAT, row_crc
from patchbank.bank.scratch import by_way_of_scratch
from patchbank.bank.stored import Outlet, Stored
from patchbank.bank.sums import Sums
from patchbank.views.fields import Shapes


class ShardWriter:
    """Context manager that writes a shard of known size; the file appears when the block ends well.

    Args:
        path: the shard's file.
        content: hash of what shapes its values (`patchbank.bank.format.content_hash`).
        samples: number of rows.
        shapes: per-row shape and dtype of every field but `image`, in the order in which checksums read them.
        threads: write rows beside each other; None writes them one after the other.
        parts: into how many parts rows are divided for them.
        coding: of the tokens, which stands beside the rows.
    """

    def __init__(
        self,
        path: Path,
        content: str,
        samples: int,
        shapes: Shapes,
        threads: Executor | None = None,
        parts: int = 1,
        coding: Coding | None = None,
    ) -> None:
        self._coding = coding
        self._atomic, self._content, self._samples, self._shapes = by_way_of_scratch(path), content, samples, shapes
        self._threads, self._parts = threads, parts
        self._row = 0
        self._sums: Sums | None = None

    @property
    def full(self) -> bool:
        """Whether every row is written."""
        return self._row == self._samples

    def __enter__(self) -> ShardWriter:
        temporary = self._atomic.__enter__()
        self._file = h5py.File(temporary, "w", libver="latest")
        self._file.attrs["format"] = FORMAT
        self._file.attrs["content"] = self._content
        self._starts = {
            name: _lay_out(self._file, name, (self._samples, *shape), dtype)
            for name, (shape, dtype) in self._shapes.items()
        }
        self._images = np.zeros(self._samples, "S16")
        self._crc = np.zeros(self._samples, np.uint32)
        self._file.flush()
        self._descriptor = os.open(temporary, os.O_WRONLY)
        return self

    def write(self, images: Sequence[str], fields: Mapping[str, NDArray[Any]]) -> None:
        """Append rows that are still to be cast, summed up and checked.

        Args:
            images: content id of each row.
            fields: every field but `image`, (rows, ...), in float32 or the stored dtype.

        Raises:
            UserError: for a value that is not finite, or beyond the stored dtype; it names image, view and channel.
        """
        tensors = {name: torch.from_numpy(np.array(fields[name])) for name in self._shapes}
        outlet = Outlet(torch.device("cpu"), self._shapes, len(images), 1, self._coding)
        self.append(outlet.send(images, tensors).wait())

    def append(self, rows: Stored) -> None:
        """Append rows that are cast, summed up and checked."""
        images = np.array(rows.images, dtype="S16")
        edges = np.linspace(0, len(images), min(self._parts, len(images)) + 1).astype(int).tolist()
        pieces = [slice(start, stop) for start, stop in pairwise(edges)]
        write = partial(self._write, images=images, fields=rows.fields)
        crc = map(write, pieces) if self._threads is None else self._threads.map(write, pieces)
        there = slice(self._row, self._row + len(images))
        self._crc[there] = np.concatenate(list(crc))
        self._images[there] = images
        self._row += len(images)
        if rows.sums is not None:
            self._sums = rows.sums if self._sums is None else self._sums + rows.sums

    def _write(
        self, piece: slice, images: NDArray[np.bytes_], fields: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.uint32]:
        """Write some of the rows to their places in the file; their checksums."""
        for name, start in self._starts.items():
            values = fields[name][piece]
            if values.nbytes:
                _write_at(self._descriptor, values, start + (self._row + piece.start) * values[0].nbytes)
        crc = [
            row_crc({**{name: fields[name][row] for name in self._shapes}, "image": images[row]})
            for row in range(piece.start, piece.stop)
        ]
        return np.array(crc, dtype=np.uint32)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
        if kind is None:
            if not self.full:
                raise RuntimeError(f"shard has {self._row} of {self._samples} rows")
            self._file.create_dataset("image", data=self._images)
            self._file.create_dataset("crc", data=self._crc)
            for name, part in ({} if self._coding is None else self._coding.arrays).items():
                self._file.create_dataset(name, data=part)
            if self._sums is not None:
                self._sums.store(self._file)
            self._file.flush()
            self._file.attrs["complete"] = True
        self._file.close()
        self._atomic.__exit__(kind, error, trace)


def _lay_out(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Make a contiguous dataset whose room is set aside at once; where in the file it begins, in bytes."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_obj_track_times(False)  # the same values are the same bytes
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    space = h5py.h5s.create_simple(shape)
    dataset = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, properties)
    return int(dataset.get_offset() or 0)


def _write_at(descriptor: int, values: NDArray[Any], start: int) -> None:
    """Write an array's bytes at a place of a file; a write may take a part only."""
    left = memoryview(np.ascontiguousarray(values).data).cast("B")
    while left:
        written = os.pwrite(descriptor, left, start)
        left, start = left[written:], start + written
