"""Which shards an extraction computes, where other processes may fill the same banks at the same time.

Two checkouts with one `bank_root`, a job that a cluster started twice, a run that was begun again while jobs of the old
one still write: all of them share the work. A shard is computed by whoever holds its lease (`patchbank.leases`), and is
complete or not there. Who finds none left to compute waits for those of the others, and computes what they leave.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.bank.coding import Coding
from patchbank.bank.fill import BlockBank
from patchbank.bank.finish import complete, present
from patchbank.bank.format import bank_folder, content_hash, cut, shard_name
from patchbank.bank.predecessors import same_values
from patchbank.bank.record import read_at
from patchbank.files import sweep
from patchbank.leases import PAUSE, Leases, holder
from patchbank.weights.spec import Read

LOG = logging.getLogger(__name__)


class ShardClaims:
    """The shards of one part of some banks; see `patchbank.bank.fill.Claims`.

    Args:
        leases: of this process.
        root: where banks live.
        records: of the banks, one wherever the encoder is read.
        ids: content ids of the images of all of them.
        parts: (index, number) of this job among those that share the banks; of this process among those of the job.
        codings: of small tokens, by where they are read.
    """

    def __init__(
        self,
        leases: Leases,
        root: Path,
        records: Sequence[Mapping[str, Any]],
        ids: Sequence[str],
        parts: Sequence[tuple[int, int]],
        codings: Mapping[Read, Coding],
    ) -> None:
        self._leases, self._codings = leases, codings
        self._records = {bank_folder(root, record): record for record in records}
        shards = cut(ids, records[0]["shards"])
        self._parts = {shard: shards[shard] for shard in share(len(shards), parts) if shards[shard]}

    def missing(self) -> list[BlockBank]:
        """Banks with shards that are not there, and cannot be taken from older ones."""
        banks = []
        for folder, record in self._records.items():
            parts = {shard: ids for shard, ids in self._parts.items() if not self._taken(folder, shard)}
            if parts:
                LOG.info("%s: %d of %d shards to compute", folder, len(parts), len(self._parts))
                read = read_at(record)
                banks.append(BlockBank(read, folder, parts, content_hash(record), self._codings.get(read)))
        return banks

    def turns(self, banks: Sequence[BlockBank]) -> Iterator[list[BlockBank]]:
        """What of the missing shards nobody computes, again and again until all of them are complete."""
        said = False
        while banks := self._left(banks):
            free = [
                bank
                for one in banks
                if (bank := _with(one, [s for s in one.parts if holder(one.folder / shard_name(s)) is None])).parts
            ]
            if free:
                yield free
                continue
            if not said:
                number = sum(len(bank.parts) for bank in banks)
                path = next(bank.folder / shard_name(shard) for bank in banks for shard in bank.parts)
                by = holder(path)
                LOG.info("waits for %d shards that others compute, %s %s", number, path, f"by {by.told}" if by else "")
                said = True
            time.sleep(PAUSE)

    def claim(self, bank: BlockBank, shard: int) -> bool:
        """Take the lease of a shard; False where somebody else has it, or has made the shard meanwhile."""
        path = bank.folder / shard_name(shard)
        if not self._leases.take(path):
            return False
        if self._complete(bank.folder, shard):
            self._leases.give_back(path)
            return False
        sweep([path])
        return True

    def made(self, bank: BlockBank, shard: int) -> None:
        """Give the lease back: the shard is complete."""
        self._leases.give_back(bank.folder / shard_name(shard))

    def _taken(self, folder: Path, shard: int) -> bool:
        """Whether a shard is complete, or could be linked from an older bank while nobody computes it."""
        if self._complete(folder, shard):
            return True
        path = folder / shard_name(shard)
        if not self._leases.take(path):
            return False
        try:
            return present(folder, path.name, self._records[folder], self._parts[shard])
        finally:
            self._leases.give_back(path)

    def _complete(self, folder: Path, shard: int) -> bool:
        return complete(folder / shard_name(shard), same_values(self._records[folder]), self._parts[shard])

    def _left(self, banks: Sequence[BlockBank]) -> list[BlockBank]:
        left = [_with(bank, [s for s in bank.parts if not self._complete(bank.folder, s)]) for bank in banks]
        return [bank for bank in left if bank.parts]


def share(shards: int, parts: Sequence[tuple[int, int]]) -> list[int]:
    """Which of so many shards are a part of a part of them, each (index, number): parts of a part are all of it."""
    mine = np.arange(shards)
    for index, number in parts:
        mine = np.array_split(mine, number)[index]
    return [int(shard) for shard in mine]


def _with(bank: BlockBank, shards: Sequence[int]) -> BlockBank:
    return replace(bank, parts={shard: bank.parts[shard] for shard in shards})
