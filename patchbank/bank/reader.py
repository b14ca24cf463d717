"""Reading a bank: every shard's datasets are mapped at their file offset, rows come back in the stored dtype.

Files are opened lazily, once per process, never before a fork. Format and record are checked always, checksums in
`patchbank.bank.verify` and on request (``check=True``).
"""

from __future__ import annotations

import operator
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from patchbank.bank.coding import Coding
from patchbank.bank.format import (
    AGAIN,
    contents_of,
    cut,
    images_of,
    made_and_kept,
    read_record,
    row_crc,
    row_fields,
    shard_name,
)
from patchbank.bank.scratch import VARIABLE, copy_of
from patchbank.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset

    _Base = Dataset[dict[str, torch.Tensor]]
else:
    _Base = object  # torch's loader takes whatever has a length and items; stages that only read arrays need no torch

Mapped = dict[str, NDArray[Any]]
Samples: TypeAlias = NDArray[np.integer[Any]] | Sequence[int]
"""Indices of samples, (b,)."""
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""field -> (b, ...)."""
FIELDS = ("tokens", "cls_attention")
"""What training reads."""


def open_bank(path: str | Path, draws: int | None = None, check: bool = False) -> Bank:
    """Open a bank as a torch Dataset.

    Args:
        path: the bank's folder, its `bank.json`, or the pipeline's pointer file.
        draws: use only the first draws of every image.
        check: compare every row's checksum when it is read.

    Example:
        >>> bank = open_bank("results/demo/bank/train-whole.json")  # doctest: +SKIP
        >>> bank[0]["tokens"].shape                                 # doctest: +SKIP
        torch.Size([1, 1024, 384])
    """
    return Bank(path, draws, check)


class Bank(_Base):
    """Samples of a bank: sample index = image index * draws + draw.

    Attributes:
        folder: where the shards lie.
        record: the content of `bank.json`.
        images: content ids, sorted.
        draws: draws per image that are used.
        fields: datasets of a row.
    """

    def __init__(self, path: str | Path, draws: int | None = None, check: bool = False) -> None:
        self.folder, self.record = read_record(path)
        self._contents = contents_of(self.record)
        self.record.pop("contents", None)  # where shards come from is no part of what the bank is
        self.fields = row_fields(self.record)
        self._parts = cut(self.record["ids"], self.record["shards"])
        self.images: list[str] = [i for part in self._parts for i in part]
        self._stored_draws = int(self.record["recipe"].get("draws", 1))
        self.draws = draws or self._stored_draws
        if not 1 <= self.draws <= self._stored_draws:
            raise UserError(f"{self.folder} holds {self._stored_draws} draws, {draws} were asked for; extract more.")
        self._check = check
        self._starts = np.cumsum([0, *(len(part) for part in self._parts)]) * self._stored_draws
        self._mapped: dict[int, Mapped] = {}
        self._coding: Coding | None = None
        self._process = os.getpid()
        _allow_files(2 * int(self.record["shards"]))

    def __len__(self) -> int:
        return len(self.images) * self.draws

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of a view in pixels."""
        size = self.record["recipe"]["size"]
        return int(size[0]), int(size[1])

    @property
    def views(self) -> int:
        """Views of one sample."""
        return int(self._any()["boxes"].shape[1])

    @property
    def tokens_per_view(self) -> int:
        """N, patch tokens of one view."""
        return int(self._one_of("tokens", "last_values").shape[2])

    @property
    def dim(self) -> int:
        """D, width of a token."""
        return int(self._one_of("tokens", "last_values", "cls").shape[-1])

    @property
    def heads(self) -> int:
        """Attention heads of the block that was read."""
        return int(self._any()["cls_attention"].shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        """dtype of the tokens: the stored one, float32 of int8 tokens (`patchbank.bank.coding`)."""
        dtype: np.dtype[Any] = np.dtype(str(self.record["dtype"]))
        return np.dtype(np.float32) if dtype == np.int8 else dtype

    @property
    def coding(self) -> Coding | None:
        """What int8 tokens are decoded with; None where tokens are stored as floats."""
        self._any()
        return self._coding

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the patch grid of a view."""
        height, width = self.input_size
        h = round((self.tokens_per_view * height / width) ** 0.5)
        return h, self.tokens_per_view // h

    def read(self, rows: Samples, fields: Sequence[str] = FIELDS, out: Arrays | None = None) -> dict[str, NDArray[Any]]:
        """Rows of samples, in the given order; ascending rows are read fastest.

        Args:
            rows: (b,) sample indices.
            fields: which datasets (see `patchbank.bank.format`).
            out: arrays to fill, (b, ...) in the stored dtype, `tokens` in `dtype`; made when not given. An int8 array
                is filled with the codes of int8 tokens, which `coding` decodes.

        Returns:
            field -> (b, ...) in the stored dtype, `tokens` in `dtype`.

        Raises:
            IndexError: for a sample that the bank does not have; a negative index is none here.
            TypeError: for an index that is not a whole number.
            UserError: for a dataset that the bank does not hold, as `cls` of an encoder without a class token; with
                ``check=True``, when a checksum differs; it names image and shard.
        """
        shards, locals_ = self._lie(np.asarray(rows))
        kinds = self._any()
        for name in fields:
            self._one_of(name)
        result: dict[str, NDArray[Any]] = {}
        for name in fields:
            dtype = self.dtype if name == "tokens" else kinds[name].dtype
            result[name] = out[name] if out else np.empty((len(shards), *kinds[name].shape[1:]), dtype)
        for i, (shard, local) in enumerate(zip(shards.tolist(), locals_.tolist(), strict=True)):
            mapped = self._shard(shard)
            for name in fields:
                if name == "tokens" and self._coding is not None and result[name].dtype != np.int8:
                    self._coding.decode_into(mapped[name][local], result[name][i])
                else:
                    result[name][i] = mapped[name][local]
            if self._check:
                self._compare(mapped, local, shard)
        return result

    def tokens_at(self, samples: int | Samples, positions: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """Some tokens; only the pages of the files that hold them are read, shard after shard.

        Args:
            samples: (m,) the sample of each token, or one for all; ascending ones are read fastest.
            positions: (m,) of the tokens in their samples, view after view: token n of view v is at v * N + n.

        Returns:
            (m, D) in `dtype`, in the order of `positions`.

        Raises:
            IndexError, TypeError, UserError: as of `read`.
        """
        rows = np.broadcast_to(np.asarray(samples), positions.shape)
        shards, locals_ = self._lie(rows)
        self._one_of("tokens")
        if self._check:
            self.read(np.unique(rows), ())
        tokens = np.empty((len(positions), self.dim), self.dtype)
        order = np.argsort(shards, kind="stable")
        ends = np.flatnonzero(np.diff(shards[order])) + 1
        for piece in np.split(order, ends) if len(order) else ():
            stored = self._shard(int(shards[piece[0]]))["tokens"]
            chosen = stored.reshape(len(stored), -1, self.dim)[locals_[piece], positions[piece]]
            if self._coding is not None:
                decoded = np.empty(chosen.shape, self.dtype)
                self._coding.decode_into(chosen, decoded)
                chosen = decoded
            tokens[piece] = chosen
        return tokens

    def _lie(self, rows: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shard of each of some samples, and its row there; errors as of `read`."""
        if len(rows) and rows.dtype.kind not in "iu":
            raise TypeError(f"samples of a bank are whole numbers, received {rows.dtype}.")
        index = rows.astype(np.int64)
        outside = index[(index < 0) | (index >= len(self))]
        if len(outside):
            raise IndexError(f"sample {int(outside[0])} of a bank with {len(self)}")
        stored = index // self.draws * self._stored_draws + index % self.draws
        shards = np.searchsorted(self._starts, stored, side="right") - 1
        return shards, stored - self._starts[shards]

    def __getitem__(self, sample: int) -> dict[str, torch.Tensor]:
        """One sample; `-1` is the last one, as of a list.

        Raises:
            IndexError: for a sample that the bank does not have.
            TypeError: for an index that is not a whole number (a slice or a mask neither).
        """
        return self.__getitems__([sample])[0]

    def __getitems__(self, samples: Sequence[int]) -> list[dict[str, torch.Tensor]]:
        """Several samples at once, which torch's loader asks for; see `__getitem__`."""
        import torch

        chosen = [self._sample(sample) for sample in samples]
        rows = {name: torch.from_numpy(value) for name, value in self.read(chosen, self.fields[:-1]).items()}
        return [{name: value[i] for name, value in rows.items()} for i in range(len(samples))]

    def _sample(self, sample: SupportsIndex) -> int:
        """A sample's index, counted from the end where it is negative."""
        if isinstance(sample, bool | np.bool_):
            raise TypeError(f"bank[{sample}]: a sample is a whole number, and {sample} is a truth value.")
        index = operator.index(sample)
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of a bank with {len(self)}")
        return index % len(self)

    def __getstate__(self) -> dict[str, Any]:
        """Maps do not travel to another process; they are opened there again."""
        return {**self.__dict__, "_mapped": {}}

    def _one_of(self, *names: str) -> NDArray[Any]:
        """The first of these datasets that the bank has."""
        kinds = self._any()
        array = next((kinds[name] for name in names if name in kinds), None)
        if array is None:
            raise UserError(f"{self.folder} holds none of {', '.join(names)}; it holds {', '.join(self.fields)}.")
        return array

    def _any(self) -> Mapped:
        first = next((i for i, part in enumerate(self._parts) if part), None)
        if first is None:
            raise UserError(f"{self.folder} holds no images.")
        return self._shard(first)

    def _shard(self, index: int) -> Mapped:
        if os.getpid() != self._process:
            self._mapped, self._process = {}, os.getpid()
        if index not in self._mapped:
            self._mapped[index] = self._map(index)
        return self._mapped[index]

    def _map(self, index: int) -> Mapped:
        path = self.folder / shard_name(index)  # what sentences name: a copy is gone when they are read
        copy = copy_of(self.folder) / path.name
        if not copy.is_file():
            gone = f"{path} is missing. {AGAIN}"
            raise UserError(gone if copy == path else f"The copy of {path} in {VARIABLE} was removed; run again.")
        try:
            with h5py.File(copy, "r") as shard:
                if not shard.attrs.get("complete") or shard.attrs.get("content") not in self._contents:
                    raise UserError(f"{path} is not a complete shard of this bank. {AGAIN}")
                if images_of(shard) != self._parts[index]:
                    raise UserError(f"{path} holds other images than bank.json says. {AGAIN}")
                stored = {n: shard[n] for n in (*self.fields, "crc")}
                layout = {n: (one.id.get_offset(), one.shape, one.dtype) for n, one in stored.items()}
                if self._coding is None and self.record["dtype"] == "int8":
                    self._coding = Coding.of(shard)
            # one map a shard, because each holds a file descriptor
            mapped = np.memmap(copy, np.uint8, "r")
        except (OSError, KeyError, RuntimeError) as error:  # h5py's errors for damaged files
            raise UserError(f"{path} is not readable ({error}). {AGAIN}") from None
        return {n: np.ndarray(s, d, mapped.data, offset) for n, (offset, s, d) in layout.items()}

    def _compare(self, mapped: Mapped, local: int, shard: int) -> None:
        if row_crc({name: mapped[name][local] for name in self.fields}) != int(mapped["crc"][local]):
            image = bytes(mapped["image"][local]).decode(errors="replace")
            raise UserError(
                f"{self.folder / shard_name(shard)}: row {local} (image {image}) does not match its checksum. "
                f"{made_and_kept([shard_name(shard)])}{AGAIN}"
            )


def _allow_files(count: int) -> None:
    """Raise the soft limit of open files towards the hard one, for banks of many shards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, count + 1024) if hard != resource.RLIM_INFINITY else count + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
