"""Writing one shard: rows in order, sums and checksums beside them, visible only when complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from patchbank.bank.cast import cast
from patchbank.bank.format import FORMAT, row_crc
from patchbank.bank.sums import Sums
from patchbank.errors import UserError
from patchbank.files import atomic_path

Shapes = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


class ShardWriter:
    """Context manager that writes a shard of known size; the file appears when the block ends well.

    Args:
        path: the shard's file.
        content: hash of what shapes its values (`patchbank.bank.format.content_hash`).
        samples: number of rows.
        shapes: per-row shape and dtype of every field but `image`, in the order in which checksums read them.
    """

    def __init__(self, path: Path, content: str, samples: int, shapes: Shapes) -> None:
        self._atomic, self._content, self._samples, self._shapes = atomic_path(path), content, samples, shapes
        self._row = 0

    def __enter__(self) -> ShardWriter:
        self._file = h5py.File(self._atomic.__enter__(), "w", libver="latest")
        self._file.attrs["format"] = FORMAT
        self._file.attrs["content"] = self._content
        for name, (shape, dtype) in self._shapes.items():
            self._file.create_dataset(name, (self._samples, *shape), dtype)
        self._file.create_dataset("image", (self._samples,), "S16")
        self._file.create_dataset("crc", (self._samples,), np.uint32)
        self._fields = [*self._shapes, "image"]
        self._sums: Sums | None = None
        return self

    def write(self, images: Sequence[str], fields: Mapping[str, NDArray[Any]]) -> None:
        """Append rows.

        Args:
            images: content id of each row.
            fields: every field but `image`, (rows, ...), in float32 or the stored dtype.

        Raises:
            UserError: for a value that is not finite, or beyond the stored dtype; it names image, view and channel.
        """
        stored = {name: _stored(fields[name], dtype, name, images) for name, (_, dtype) in self._shapes.items()}
        stored["image"] = np.array(images, dtype="S16")
        rows = slice(self._row, self._row + len(images))
        for name in self._fields:
            self._file[name][rows] = stored[name]
        crc = [row_crc({name: stored[name][i] for name in self._fields}) for i in range(len(images))]
        self._file["crc"][rows] = np.array(crc, dtype=np.uint32)
        self._row += len(images)
        if "tokens" in stored:
            tokens = stored["tokens"].reshape(-1, stored["tokens"].shape[-1]).astype(np.float64)
            self._sums = Sums.of(tokens) if self._sums is None else self._sums + Sums.of(tokens)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if self._row != self._samples:
                raise RuntimeError(f"shard has {self._row} of {self._samples} rows")
            if self._sums is not None:
                self._sums.store(self._file)
            self._file.flush()
            self._file.attrs["complete"] = True
        self._file.close()
        self._atomic.__exit__(kind, error, trace)


def _stored(values: NDArray[Any], dtype: np.dtype[Any], name: str, images: Sequence[str]) -> NDArray[Any]:
    """Values in the stored dtype, all of them finite."""
    stored = cast(values, dtype)
    if np.issubdtype(dtype, np.floating) and not np.isfinite(stored).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(stored))[0])
        raise UserError(
            f"image {images[where[0]]}, view {where[1]}, channel {where[-1]}: {name} is {float(values[where])}, which "
            f"{dtype} cannot hold; set extract.dtype to float32, or look at the image and the backbone."
        )
    return stored
