"""Stage `segment_numbers`: at how many segments the floors of a set stand.

Inputs: the summaries of the counts of every method and post-processed row that is no floor itself, of all seeds.
Output: a JSON file with `numbers`, ascending and above 1: each method's own number of segments, where it has
one, and the mean number that it used on labelled pixels, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from patchbank.files import read_json
from patchbank.left_out import left_out_at


def segment_numbers(rows: Mapping[str, Sequence[str | Path]], varying: Collection[str] = ()) -> list[int]:
    """The numbers of segments of all rows.

    Args:
        rows: name of a row -> summaries of its seeds (`patchbank.evaluation.count.summarise`); one that was left out
            has no segments, and one that predicts classes no number of its own.
        varying: rows whose images have numbers of their own, which K only bounds (`patchbank.methods.shape.Traits`).
    """
    numbers = {number for row, paths in rows.items() for number in _numbers(paths, row in varying)}
    return sorted(number for number in numbers if number > 1)


def _numbers(paths: Iterable[str | Path], varying: bool) -> set[int]:
    summaries = [read_json(path) for path in paths if left_out_at(path) is None]
    used = [summary["used"] for summary in summaries if summary["used"] is not None]
    mean = {math.ceil(sum(used) / len(used))} if used else set()
    return mean | {summary["segments"] for summary in summaries if "segments" in summary and not varying}
