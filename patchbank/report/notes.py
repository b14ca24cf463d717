"""What a reader must know beside the numbers, as sentences: shared draws, capped K, and who does not beat a floor.

Comparisons are of means over the runs of each row and say how many runs those are; no interval is computed here, so
no sentence calls a method better. A trained method is compared with floors of the same protocol, K, variant,
preprocessing and fit: every floor it does not beat is named, and of those it beats `image-kmeans-q` and `kmeans`,
which see the same tokens. Under a protocol inside the image (no K) more segments alone raise the score, so a
comparison there names the segments of both, and of several `image-kmeans-q` only the q of the method's mean number of
segments, rounded up, is used where it is there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from patchbank.report.protocols import HEADLINE
from patchbank.report.rows import Row, mean_of, runs_of, trained
from patchbank.report.text import against, listing, name_of, numbers, place

_SAME = ("protocol", "k", "variant", "preprocessing", "fit")


def build_notes(rows: Sequence[Row], shared_draws: bool) -> list[str]:
    """All sentences for a report, in the order in which they should be read.

    Args:
        rows: sorted rows of all methods.
        shared_draws: whether the training seeds of a method read one bank.

    Returns:
        Sentences that end with a full stop.
    """
    if not rows:
        return ["This set has no labels, so nothing is scored; predictions and pictures are all there is."]
    return [
        *_oracles(rows),
        *_fit_on_val(rows),
        *_few_seeds(rows),
        *(_shared_draws(rows) if shared_draws else ()),
        *_capped(rows),
        *floor_notes(rows),
    ]


def floor_notes(rows: Sequence[Row]) -> list[str]:
    """One sentence for each trained row and floor, first the floors that are not beaten."""
    lost: list[str] = []
    won: list[str] = []
    for row in trained(rows):
        mean = mean_of(row["miou"])
        if mean is None:
            continue
        floors = floors_of(row, rows)
        if not floors:
            lost.append(
                f"No floor of the same protocol, K and variant stands beside {name_of(row)} under {place(row)}."
            )
        for floor in floors:
            if beats(row, floor):
                if is_strong(floor):
                    won.append(f"{name_of(row)} has a higher mean than {_compared(row, floor)}.")
            else:
                lost.append(f"{name_of(row)} does not beat {_compared(row, floor)}.")
    if not lost and not won:
        return []
    caution = "Methods and floors are compared by the means of their runs; a small difference may be chance."
    return [caution, *lost, *won]


def floors_of(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Floors that have a score and the same protocol, K, variant, preprocessing and fit as `row`."""
    floors = [
        other
        for other in rows
        if other["floor"] and mean_of(other["miou"]) is not None and all(other[name] == row[name] for name in _SAME)
    ]
    if row["k"] is not None or row["segments"] is None:
        return floors
    wanted = f"image-kmeans-{math.ceil(row['segments'])}"
    if any(floor["method"] == wanted for floor in floors):
        floors = [f for f in floors if not f["method"].startswith("image-kmeans-") or f["method"] == wanted]
    return floors


def beats(row: Row, floor: Row) -> bool:
    """Whether the mean of `row` is above the mean of `floor`; both have one."""
    return float(row["miou"]["mean"]) > float(floor["miou"]["mean"])


def is_strong(floor: Mapping[str, Any]) -> bool:
    """Whether a floor sees the same tokens as the method: `image-kmeans-q` and `kmeans`."""
    return floor["method"] == "kmeans" or str(floor["method"]).startswith("image-kmeans-")


def _compared(row: Row, floor: Row) -> str:
    runs, floor_runs = runs_of(row["miou"]), runs_of(floor["miou"])
    text = f"{floor['method']} under {place(row)} ({against(row['miou']['mean'], floor['miou']['mean'])}"
    if runs != 1 or floor_runs != 1:
        text += f"; means of {runs} and {floor_runs} runs" if runs != floor_runs else f"; means of {runs} runs each"
    else:
        text += "; one run each"
    if row["k"] is None and row["segments"] is not None and floor["segments"] is not None:
        text += f"; {against(row['segments'], floor['segments'])} segments an image"
    return text + ")"


def _oracles(rows: Sequence[Row]) -> list[str]:
    return [
        f"{method} used labels of the {split} split for a choice or for training (oracle: {split})."
        for method, split in sorted({(row["method"], row["oracle"]) for row in rows if row["oracle"]})
    ]


def _fit_on_val(rows: Sequence[Row]) -> list[str]:
    methods = sorted({row["method"] for row in rows if row["fit"] == "val"})
    if not methods:
        return []
    return [f"Clusters of {listing(methods)} were fitted on the images they are scored on (fit: val)."]


def _few_seeds(rows: Sequence[Row]) -> list[str]:
    found: set[str] = set()
    for row in trained(rows):
        if row["protocol"] != HEADLINE:
            continue
        for kind, name, wanted in (("training", "training", 3), ("kmeans", "k-means", 5)):
            count = len(row["seeds"].get(kind) or ())
            if 0 < count < wanted:
                found.add(
                    f"{row['method']} ran with {count} {name} {'seed' if count == 1 else 'seeds'}; a headline needs at "
                    f"least {wanted}, because seeds alone move `{HEADLINE}` by points."
                )
    return sorted(found)


def _shared_draws(rows: Sequence[Row]) -> list[str]:
    seeds: dict[str, set[int]] = {}
    for row in trained(rows):
        if row["settings"].get("tokens_from") != "whole":  # such crops are drawn by each training for itself
            seeds.setdefault(row["method"], set()).update(row["seeds"].get("training") or ())
    return [
        f"Shared draws: the training seeds {numbers(sorted(found))} of {method} read the same stored views, so the "
        "spread over seeds leaves out the spread over draws."
        for method, found in sorted(seeds.items())
        if len(found) > 1
    ]


def _capped(rows: Sequence[Row]) -> list[str]:
    capped: dict[tuple[str, int], tuple[set[str], set[int]]] = {}
    for row in rows:
        used = set(row["k_used"] or ())
        if row["k"] is not None and used - {row["k"]}:
            protocols, values = capped.setdefault((row["method"], row["k"]), (set(), set()))
            protocols.add(f"`{row['protocol']}`")
            values.update(used)
    return [
        f"{method} was asked for K = {k} under {listing(sorted(protocols))} and used {numbers(sorted(values))}: K is "
        "capped at a quarter of the training points."
        for (method, k), (protocols, values) in sorted(capped.items())
    ]
