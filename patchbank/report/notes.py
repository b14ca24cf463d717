"""What a reader must know beside the numbers, as sentences: shared draws, capped K, and who does not beat a floor.

A method is called better only where the 95 % interval of the paired difference (`patchbank.evaluation.compare`)
excludes 0; without an interval, comparisons are of means over the runs of each row and say so. A trained method is
compared with floors of the same protocol, K, variant and preprocessing: every floor it does not beat is named,
and of those it beats the ones that see the same tokens. Under a protocol inside the image (no K) more segments alone
raise the score, so a comparison there names the segments of both, and of several floors that see the same tokens at
numbers of segments only those at the method's mean number, rounded up, are used where they are there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from patchbank.evaluation.compare import Comparison, Key
from patchbank.report.rows import Row, headline_rows, score_of, trained
from patchbank.report.text import against, listing, name_of, numbers, protocol_text, verdict

INTERVALS = (
    "Better means that the 95 % interval of the paired difference, over images and seeds, excludes 0; the matching of "
    "clusters and classes is that of the whole set."
)
_VERDICTS = {1: "is better than", -1: "is worse than", 0: "is not shown to differ from"}


def build_notes(
    rows: Sequence[Row],
    labelled: bool = True,
    drawn: Sequence[str] = (),
    comparisons: Sequence[Comparison] = (),
) -> list[str]:
    """All sentences for a report, in the order in which they should be read.

    Args:
        rows: sorted rows of all methods.
        labelled: whether the scored split has labels.
        drawn: rows whose trainings read stored draws, the same for all seeds.
        comparisons: differences of the compare stage.

    Returns:
        Sentences that end with a full stop.
    """
    if not rows and labelled:
        return ["No protocol found a pixel to score: see `protocols`, `preprocessing` and the labels in `check.json`."]
    if not rows:
        return ["This set has no labels, so nothing is scored; predictions and pictures are all there is."]
    return [
        *floor_notes(rows, comparisons),
        *_other_pixels(rows),
        *_oracles(rows),
        *_fit_on_val(rows),
        *_few_seeds(rows),
        *_shared_draws(rows, drawn),
        *_capped(rows),
        *method_notes(rows, comparisons),
    ]


def floor_notes(rows: Sequence[Row], comparisons: Sequence[Comparison] = ()) -> list[str]:
    """One sentence for each trained row and floor, first the floors that are not beaten."""
    known = _by_pair(comparisons)
    lost: list[str] = []
    won: list[str] = []
    for row in trained(rows):
        if row.miou is None:
            continue
        floors = floors_of(row, rows)
        if not floors:
            lost.append(
                "No floor of the same protocol, K, variant and fit stands beside "
                f"{name_of(row)} under {protocol_text(*row.key)}."
            )
        for floor in floors:
            entry = known.get((row.method, floor.method, row.key))
            if not beats(row, floor):
                lost.append(f"{name_of(row)} does not beat {_compared(row, floor, entry)}.")
            elif entry is not None and verdict(entry.low, entry.high) < 1:
                lost.append(f"{name_of(row)} is not shown to beat {_compared(row, floor, entry)}.")
            elif floor.sees_tokens:
                verb = "has a higher mean than" if entry is None else "is better than"
                won.append(f"{name_of(row)} {verb} {_compared(row, floor, entry)}.")
    if not lost and not won:
        return []
    caution = "Methods and floors are compared by the means of their runs; a small difference may be chance."
    return [INTERVALS if known else caution, *lost, *won]


def method_notes(rows: Sequence[Row], comparisons: Sequence[Comparison]) -> list[str]:
    """One sentence for each pair of trained methods, protocol, variant and K that has an interval."""
    methods = {(row.method, row.key): row for row in trained(rows) if row.miou is not None}
    notes = []
    for entry in comparisons:
        a, b = (methods.get((method, entry.key)) for method in (entry.a, entry.b))
        if a is not None and b is not None:
            notes.append(f"{name_of(a)} {_VERDICTS[verdict(entry.low, entry.high)]} {_compared(a, b, entry)}.")
    return notes


def floors_of(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Floors that have a score and the same protocol, K, variant, preprocessing and way from patches to pixels.

    Where no floor went that way, its floors are those at the nearest patch (`_other_pixels` says so).
    """
    floors = [
        other
        for other in rows
        if other.floor
        and other.miou is not None
        and (other.key, other.preprocessing) == (row.key, row.preprocessing)
        and _fitted_alike(row, other)
    ]
    for wanted in (_way(row), "nearest"):
        if alike := [floor for floor in floors if _way(floor) == wanted]:
            floors = alike
            break
    if row.k is not None or row.segments is None:
        return floors
    segments = math.ceil(row.segments)
    if any(floor.sees_tokens and floor.at == segments for floor in floors):
        floors = [floor for floor in floors if not (floor.sees_tokens and floor.at) or floor.at == segments]
    return floors


def _fitted_alike(row: Row, floor: Row) -> bool:
    """Whether both were fitted on the same split; segments inside images, without k-means, are fitted on none."""
    fits = {one.fit for one in (row, floor) if one.k is not None or one.seeds.kmeans}
    return len(fits - {None}) < 2


def beats(row: Row, floor: Row) -> bool:
    """Whether the mean of `row` is above the mean of `floor`; both have one."""
    return score_of(row).mean > score_of(floor).mean


def _way(row: Row) -> str:
    """How a row gets from patches to pixels: its post-processing, else the rule of its method."""
    return row.postprocess or ("bilinear" if row.upsample == "bilinear" else "nearest")


def _other_pixels(rows: Sequence[Row]) -> list[str]:
    """What a reader must know of rows whose floors went another way from patches to pixels."""
    ways = {(floor.protocol, _way(floor)) for floor in rows if floor.floor}
    methods_by_way: dict[str, dict[str, None]] = {}
    for row in trained(rows):
        if _way(row) != "nearest" and (row.protocol, _way(row)) not in ways:
            methods_by_way.setdefault(_way(row), {})[row.method] = None
    return [
        f"Floors beside {listing(sorted(methods))} are without `{way}`: differences contain what that brings."
        for way, methods in sorted(methods_by_way.items())
    ]


def _by_pair(comparisons: Sequence[Comparison]) -> dict[tuple[str, str, Key], Comparison]:
    return {(entry.a, entry.b, entry.key): entry for entry in comparisons}


def _compared(row: Row, floor: Row, entry: Comparison | None) -> str:
    ours, theirs = score_of(row), score_of(floor)
    text = f"{floor.method} under {protocol_text(*row.key)} ({against(ours.mean, theirs.mean)}"
    if ours.n != 1 or theirs.n != 1:
        text += f"; means of {ours.n} and {theirs.n} runs" if ours.n != theirs.n else f"; means of {ours.n} runs each"
    else:
        text += "; one run each"
    if entry is not None:
        text += f"; 95 % interval of the difference {entry.low:+.1f} to {entry.high:+.1f}"
    if row.k is None and row.segments is not None and floor.segments is not None:
        text += f"; {against(row.segments, floor.segments)} segments an image"
    return text + ")"


def _oracles(rows: Sequence[Row]) -> list[str]:
    return [
        f"{method} used labels of the {oracle.replace(', ', ' and the ')} split for a choice or for training "
        f"(oracle: {oracle})."
        for method, oracle in sorted({(row.method, row.oracle) for row in rows if row.oracle})
    ]


def _fit_on_val(rows: Sequence[Row]) -> list[str]:
    methods = sorted({row.method for row in rows if row.fit == "val"})
    if not methods:
        return []
    note = f"Clusters of {listing(methods)} were fitted on the images they are scored on (fit: val)"
    others = sorted({row.method for row in rows if row.fit == "train"})
    return [f"{note}, those of {listing(others)} on the train split." if others else f"{note}."]


def _few_seeds(rows: Sequence[Row]) -> list[str]:
    notes: set[str] = set()
    for row in headline_rows(rows):
        for name, seeds, wanted in (("training", row.seeds.training, 3), ("k-means", row.seeds.kmeans, 5)):
            if 0 < len(seeds) < wanted:
                notes.add(
                    f"{row.method} ran with {len(seeds)} {name} {'seed' if len(seeds) == 1 else 'seeds'}; a headline "
                    f"needs at least {wanted}, because seeds alone move a score by points."
                )
    return sorted(notes)


def _shared_draws(rows: Sequence[Row], drawn: Sequence[str]) -> list[str]:
    seeds: dict[str, set[int]] = {}
    for row in trained(rows):
        if row.method in drawn:
            seeds.setdefault(row.method, set()).update(row.seeds.training)
    return [
        f"Shared draws: the training seeds {numbers(sorted(values))} of {method} read the same stored views, so the "
        "spread over seeds leaves out the spread over draws."
        for method, values in sorted(seeds.items())
        if len(values) > 1
    ]


def _capped(rows: Sequence[Row]) -> list[str]:
    capped: dict[tuple[str, int], tuple[set[str], set[int]]] = {}
    for row in rows:
        used = set(row.k_used)
        if row.k is not None and used - {row.k}:
            protocols, values = capped.setdefault((row.method, row.k), (set(), set()))
            protocols.add(f"`{row.protocol}`")
            values.update(used)
    return [
        f"{method} was asked for K = {k} under {listing(sorted(protocols))} and used {numbers(sorted(values))}: K is "
        "capped at a quarter of the training points."
        for (method, k), (protocols, values) in sorted(capped.items())
    ]
