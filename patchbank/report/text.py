"""Numbers and rows as words: the one place where a score, a seed list or a row's name becomes text."""

from __future__ import annotations

from collections.abc import Sequence

from patchbank.report.rows import Row, Spread

NOTHING = "–"
"""What a table shows where there is no value."""


def percent(value: float | None) -> str:
    """One decimal, as every table shows it."""
    return NOTHING if value is None else f"{value:.1f}"


def score_text(score: Spread | None) -> str:
    """A score as ``"18.3 ± 2.4 (15)"``: mean, standard deviation, number of runs; one run has no deviation."""
    if score is None:
        return NOTHING
    deviation = f" ± {score.std:.1f}" if score.n > 1 and score.std is not None else ""
    return f"{score.mean:.1f}{deviation} ({score.n})"


def against(value: float, other: float) -> str:
    """Two numbers as ``"18.3 against 21.9"``, with a second decimal where the first hides the difference."""
    digits = 1 if f"{value:.1f}" != f"{other:.1f}" or value == other else 2
    return f"{value:.{digits}f} against {other:.{digits}f}"


def verdict(low: float, high: float) -> int:
    """What the 95 % interval of a difference says: 1 for better, -1 for worse, 0 where it does not exclude 0."""
    return 1 if low > 0 else -1 if high < 0 else 0


def protocol_text(protocol: str, variant: str, k: int | None) -> str:
    """What was scored, e.g. ``"overcluster, K = 300, precision"``; the K of ``hungarian`` goes without saying."""
    parts = [protocol]
    if k is not None and not protocol.startswith("hungarian"):
        parts.append(f"K = {k}")
    if variant:
        parts.append(variant.replace("_", " "))
    return ", ".join(parts)


def method_text(method: str, oracle: str | None) -> str:
    """A method with its use of labels where there is one, e.g. ``"probe (oracle: val)"``."""
    return f"{method} (oracle: {oracle})" if oracle else method


def name_of(row: Row) -> str:
    """Method of a row, with its use of labels."""
    return method_text(row.method, row.oracle)


def k_text(row: Row) -> str:
    """K asked for, and the K that was used where it differs: ``"500 (88 used)"``."""
    if row.k is None:
        return NOTHING
    used = sorted(set(row.k_used) or {row.k})
    return str(row.k) if used == [row.k] else f"{row.k} ({numbers(used)} used)"


def seeds_text(row: Row) -> str:
    """Number of training and k-means seeds as ``"3 × 5"``; a dash where a kind of seed plays no part."""
    counts = [len(row.seeds.training), len(row.seeds.kmeans)]
    return " × ".join(str(count) if count else NOTHING for count in counts) if any(counts) else NOTHING


def mark(row: Row) -> str:
    """``"floor"``, ``"ceiling"`` or nothing."""
    return "ceiling" if row.ceiling else "floor" if row.floor else ""


def numbers(values: Sequence[int]) -> str:
    """A sorted list of whole numbers, runs of three and more joined: ``"0-4, 7"``."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def listing(items: Sequence[str]) -> str:
    """Items joined as a sentence does it: ``"a, b and c"``; nothing for none."""
    if not items:
        return ""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
