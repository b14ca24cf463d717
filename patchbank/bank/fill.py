"""Computing shards: files are decoded in processes, encoded in this one, written by threads, all at the same time.

Decoding processes live as long as there are images. The encoder gets a batch as soon as it has done the one before,
and does not wait for what it said to be checked and written; a bounded number of batches waits before and behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from torch.utils.data import DataLoader

from patchbank.backbones.encoder import Encoder
from patchbank.bank.coding import Coding
from patchbank.bank.decoding import ImageViews, decoders, image_batches
from patchbank.bank.encode import Pictures, encode_rows, rows_at_blocks
from patchbank.bank.format import shard_name
from patchbank.bank.stored import Outlet, Rows, uploaded
from patchbank.bank.writer import ShardWriter
from patchbank.datasets.depth import Treatment
from patchbank.datasets.images import PLAIN
from patchbank.errors import UserError
from patchbank.memory import release
from patchbank.progress import track
from patchbank.stopping import at_the_next
from patchbank.views.base import EncodingRecipe, RecipeProtocol
from patchbank.views.fields import Shapes
from patchbank.weights.spec import Read

WRITERS = 4
"""Threads that compute checksums and write."""
WAITING = {"cpu": 2, "cuda": 16}
"""Encoded batches that may wait to be written, of all banks together but one of each at least: a GPU encodes some while
the disk takes in the end of a shard."""


@dataclass(frozen=True)
class ShardRows:
    """What the rows of some shards are made from.

    Attributes:
        paths: id -> image file.
        vit: the encoder.
        recipe: the views.
        shapes: of a row (`row_shapes`).
        content: hash of what shapes a row.
        treatment: of deep images.
    """

    paths: Mapping[str, Path]
    vit: Encoder
    recipe: RecipeProtocol
    shapes: Shapes
    content: str
    treatment: Treatment = PLAIN


@dataclass(frozen=True)
class BlockBank:
    """A bank of one block of the encoder.

    Attributes:
        read: which block, and whether with the final norm.
        folder: the bank's.
        parts: shard index -> sorted ids, of the shards to compute.
        content: hash of what shapes a row.
        coding: of its tokens; None for none.
    """

    read: Read
    folder: Path
    parts: Mapping[int, Sequence[str]]
    content: str
    coding: Coding | None = None


class Claims(Protocol):
    """Which shards this process computes, where others fill the same banks at the same time."""

    def claim(self, bank: BlockBank, shard: int) -> bool:
        """Claim a shard just before it is computed; False where another process computes or has made it."""

    def made(self, bank: BlockBank, shard: int) -> None:
        """A claimed shard is on the disk."""


class Everything:
    """Claims of a process that is alone with its banks."""

    def claim(self, bank: BlockBank, shard: int) -> bool:
        """Every shard."""
        return True

    def made(self, bank: BlockBank, shard: int) -> None:
        """Nobody waits for it."""


def fill(
    folder: Path,
    parts: Mapping[int, Sequence[str]],
    rows: ShardRows,
    batch_tokens: int,
    threads: int | None = None,
    workers: int | None = None,
) -> None:
    """Compute shards of one bank and write them; see `fill_blocks`.

    Args:
        folder: the bank's folder.
        parts: shard index -> sorted ids.
        rows: what their rows are made from.
        batch_tokens, threads, workers: see `fill_blocks`.
    """
    fill_blocks([BlockBank(rows.vit.read, folder, parts, rows.content)], rows, batch_tokens, threads, workers)


def fill_blocks(
    banks: Sequence[BlockBank],
    rows: ShardRows,
    batch_tokens: int,
    threads: int | None = None,
    workers: int | None = None,
    claims: Claims | None = None,
) -> None:
    """Compute shards of the banks of some blocks in one pass over the images, and write them.

    Args:
        banks: one a block and norm; others than the encoder's own only of a recipe whose views are stored as tokens.
        rows: what their rows are made from, in all banks but for `content`.
        batch_tokens: patch tokens per forward pass.
        threads: CPU threads of this job.
        workers: decoding processes (default: `patchbank.bank.decoding.decoders`).
        claims: which shards are left to others; by default none.

    Raises:
        UserError: an image cannot be read, or a value cannot be stored.
    """
    recipe, device = rows.recipe, rows.vit.device
    h, w = rows.vit.grid(*recipe.size)
    tokens = recipe.views * h * w
    if "tokens" in rows.shapes:  # of a denser grid there are more than a view has patches
        tokens = max(tokens, prod(rows.shapes["tokens"][0][:-1]))
    least = recipe.batch_images if isinstance(recipe, EncodingRecipe) else 1
    size = max(least, batch_tokens // (recipe.draws * tokens))
    batches = _Batches(banks, size, claims or Everything())
    views = ImageViews(rows.paths, recipe, rows.treatment)
    if workers is None:
        workers = decoders(device, threads)
    loader = image_batches(batches, views, size, workers, pinned=device.type == "cuda")
    beside = batches.beside(loader)
    loaded = track(beside, f"extract {banks[0].folder.name}", "batch", len(batches))
    shard_of_batch = -1
    with at_the_next(), closing(beside), ExitStack() as stack:  # its processes end with it, also behind an error
        most = size * recipe.draws
        depth = max(1, WAITING.get(device.type, WAITING["cpu"]) // len(banks))
        queues = [(bank, stack.enter_context(_ShardQueue(bank, rows, most, depth, batches.claims))) for bank in banks]
        for (shard, ids, claimed), pictures in uploaded(loaded, device):
            if isinstance(pictures, str):
                raise UserError(pictures)
            if shard != shard_of_batch:
                release()
                shard_of_batch = shard
            fields = _fields(banks, rows, pictures, batch_tokens)
            for bank, queue in queues:
                if bank.read in claimed:
                    queue.put(shard, [i for i in ids for _ in range(recipe.draws)], fields[bank.read])


Asked = tuple[int, list[str], set[Read]]
"""Shard and ids of a batch, and of which banks it is."""


class _Batches:
    """Ids of the batches of claimed shards, shard after shard; one is claimed when its first batch is asked for.

    Args:
        banks: whose shards are computed.
        size: images of a batch.
        claims: asked for each shard of each bank.
    """

    def __init__(self, banks: Sequence[BlockBank], size: int, claims: Claims) -> None:
        self._banks, self._size, self.claims = banks, size, claims
        self._parts = {shard: ids for bank in banks for shard, ids in bank.parts.items()}
        self._asked: deque[Asked] = deque()

    def __len__(self) -> int:
        """Batches of all shards, claimed or not."""
        return sum(-(-len(ids) // self._size) for ids in self._parts.values())

    def __iter__(self) -> Iterator[list[str]]:
        for shard, ids in sorted(self._parts.items()):
            claimed = {b.read for b in self._banks if shard in b.parts and self.claims.claim(b, shard)}
            for start in range(0, len(ids) if claimed else 0, self._size):
                batch = list(ids[start : start + self._size])
                self._asked.append((shard, batch, claimed))
                yield batch

    def beside(self, loaded: DataLoader[Pictures | str]) -> Generator[tuple[Asked, Pictures | str], None, None]:
        """What every batch is, beside its pictures."""
        for pictures in loaded:
            yield self._asked.popleft(), pictures


def _fields(
    banks: Sequence[BlockBank], rows: ShardRows, pictures: Pictures, batch_tokens: int
) -> dict[Read, dict[str, torch.Tensor]]:
    """Fields of the rows of some images, wherever the encoder is read, or at its own block alone."""
    if any(bank.read != rows.vit.read for bank in banks):
        return rows_at_blocks(rows.vit, rows.recipe, pictures, batch_tokens)
    return {rows.vit.read: encode_rows(rows.vit, rows.recipe, pictures, batch_tokens)}


class _ShardQueue:
    """Rows that wait to be written, in order.

    One thread takes them, so that a shard is on the disk before a row of the next one is written, and others compute
    checksums and write.

    Args:
        bank: where they go.
        rows: as of `fill_blocks`.
        most: rows of a batch.
        depth: batches of them at most.
        claims: told of every shard that is on the disk.
    """

    def __init__(self, bank: BlockBank, rows: ShardRows, most: int, depth: int, claims: Claims) -> None:
        self._bank, self._rows, self._claims, self._depth = bank, rows, claims, depth
        self._outlet = Outlet(rows.vit.device, rows.shapes, most, self._depth + 1, bank.coding)
        self._waiting: deque[Future[None]] = deque()
        self._taker, self._writers = ThreadPoolExecutor(1, "shard"), ThreadPoolExecutor(WRITERS, "write")
        self._open = ExitStack()
        self._writer: ShardWriter | None = None
        self._failed = False

    def __enter__(self) -> _ShardQueue:
        return self

    def put(self, shard: int, images: Sequence[str], fields: Mapping[str, torch.Tensor]) -> None:
        """Add rows of a shard; waits while the queue is full, and raises what failed in it."""
        while len(self._waiting) > self._depth - 1:
            self._waiting.popleft().result()
        self._waiting.append(self._taker.submit(self._take, shard, self._outlet.send(images, fields)))

    def _take(self, shard: int, rows: Rows) -> None:
        try:
            if not self._failed:
                self._write(shard, rows)
        except BaseException:
            self._failed = True
            raise
        finally:
            rows.done()

    def _write(self, shard: int, rows: Rows) -> None:
        if self._writer is None:
            samples = len(self._bank.parts[shard]) * self._rows.recipe.draws
            path = self._bank.folder / shard_name(shard)
            threads, coding = (self._writers, WRITERS), self._bank.coding
            writer = ShardWriter(path, self._bank.content, samples, self._rows.shapes, *threads, coding)
            self._writer = self._open.enter_context(writer)
        self._writer.append(rows.wait())
        if self._writer.full:
            self._writer = None
            self._open.close()
            self._claims.made(self._bank, shard)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._failed = self._failed or kind is not None
        with self._open, self._writers:  # writers end first; then what is not a whole shard is removed
            self._taker.shutdown()
            if error is not None:
                raise error
            for future in self._waiting:
                future.result()
