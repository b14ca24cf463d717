"""Stage `statistics`: mean and standard deviation of the training tokens, added up from the shards' own sums.

Output: an `.npz` with `mean` (D,), `std` (D,) float64 and `count`; the head, k-means and segment clusters read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from patchbank.bank.format import cut, read_record, shard_name
from patchbank.bank.sums import Sums
from patchbank.errors import UserError
from patchbank.files import write_npz
from patchbank.recognise import read_arrays

NAMED = "Statistics are named by their file, e.g. results/demo/statistics.npz."


@dataclass(frozen=True)
class Statistics:
    """Per-channel moments of a bank's tokens.

    Attributes:
        mean: (D,) float64.
        std: (D,) float64, population standard deviation.
        count: number of tokens.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    count: int

    @classmethod
    def load(cls, path: str | Path) -> Statistics:
        """Read what `compute_statistics` wrote; `UserError` says what another file is."""
        arrays = read_arrays(path, ("mean", "std", "count"), "a file of statistics", NAMED)
        return cls(arrays["mean"], arrays["std"], int(arrays["count"]))


def compute_statistics(bank: str | Path, out: str | Path) -> Statistics:
    """Add the sums of all shards of `bank` and write mean, standard deviation and count to `out`."""
    folder, record = read_record(bank)
    parts = []
    for index, ids in enumerate(cut(record["ids"], record["shards"])):
        if not ids:
            continue
        with h5py.File(folder / shard_name(index), "r") as shard:
            parts.append(Sums.load(shard))
    if not parts:
        raise UserError(f"{folder} holds no images; statistics need at least one.")
    sums = reduce(add, parts)
    mean, std = sums.moments()
    write_npz(out, {"mean": mean, "std": std, "count": np.array(sums.count)})
    return Statistics(mean, std, sums.count)
