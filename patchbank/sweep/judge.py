"""How well criteria without labels rank encoders and blocks, against the scores of rows.

Inputs: of every encoder its criteria (`patchbank.criteria.measure`) and its rows (`patchbank.ablation.run`). Output:
JSON values:

| key | meaning |
|---|---|
| `encoders` | `name`, `criteria` (name -> value), `scores` (row -> `value`, `low`, `high`; null where left out) |
| `rows`, `criteria` | their names |
| `marks` | row -> `ceiling`, and `oracle`, the splits whose labels it used, or null |
| `best` | row -> encoder with the highest score |
| `choices` | criterion -> the encoder that it would choose: that of the highest value |
| `judged` | `criterion`, `row`, `spearman`, `range` ([low, high]), `behind` (points of its choice behind |
| | `best`, `low`, `high`; null where the chosen encoder has no such row) |
| `left_out` | `patchbank.left_out.LeftOut` of rows, `row` with the encoder before it |

Scores are percent with the 95 % interval over images and trainings (`patchbank.evaluation.paired`). A rank correlation
(Spearman 1904) has a range over resampled images: the criterion's values stay, all encoders are scored on each resample
of the images, and 95 % of the correlations lie in it. That is no interval of confidence: a resample adds noise to ranks
that are noisy already, so that the range leans towards 0 and is too narrow. Simulated with ten encoders, it held the
true rank correlation in 64 of 100 sweeps, in 42 where trainings vary as well (`tests/sweep/test_sweep_ranges.py`).

`best` is chosen by the same scores that it is compared with, so points of another encoder behind it are a little too
many. Where the criterion's choice is `best` itself, they are 0 of these scores and have no interval; another encoder
may be the best in truth (in a sixth to a quarter of the simulated sweeps).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.criteria.measure import NAMES
from patchbank.evaluation.compare import FEWEST, Compared, Sample, resampled_scores
from patchbank.evaluation.measures import Floats
from patchbank.evaluation.paired import Difference, Resampled, compare, interval
from patchbank.evaluation.score import Scoring, context_of
from patchbank.files import read_json
from patchbank.left_out import LeftOut, left_out_at
from patchbank.methods.contract import Method, oracle_of
from patchbank.progress import track

RESAMPLES = 2_000
RANKED = 3
"""Encoders below which there is no rank correlation."""


@dataclass(frozen=True)
class Swept:
    """A set at one encoder.

    Attributes:
        name: of the encoder.
        criteria: JSON file of its criteria.
        rows: name of a row -> its JSON file; its counts and clusters lie in the folder of that name beside it.
    """

    name: str
    criteria: Path
    rows: Mapping[str, Path]


def judge(
    swept: Sequence[Swept], methods: Sequence[Method], classes: Sequence[str], scoring: Scoring, protocol: str
) -> dict[str, Any]:
    """Compare criteria with scores; see the module.

    Args:
        swept: the encoders.
        methods: the rows; none for a set without labels.
        classes: names of the classes.
        scoring: what the rows are scored by.
        protocol: the one whose scores count.
    """
    found = {one.name: read_json(one.criteria)["criteria"] for one in swept}
    criteria = [name for name in NAMES if any(values.get(name) is not None for values in found.values())]
    choices = {name: _highest({e: values[name] for e, values in found.items()}) for name in criteria}
    scored, left_out = _scores(swept, methods, classes, replace(scoring, protocols=(protocol,)))
    intervals = {row: {e: interval(a) for e, a in of.items()} for row, of in scored.items()}
    best = {row: _highest({e: one.difference for e, one in of.items()}) for row, of in intervals.items() if of}
    judged = [
        {"criterion": name, "row": row}
        | _judged({e: found[e][name] for e in scored[row]}, scored[row], best[row], choices[name])
        for name in criteria
        for row in best
    ]
    return {
        "encoders": [
            {
                "name": one.name,
                "criteria": found[one.name],
                "scores": {row: _points(of.get(one.name), scored[row]) for row, of in intervals.items()},
            }
            for one in swept
        ],
        "rows": list(best),
        "marks": {m.name: {"ceiling": m.traits.ceiling, "oracle": oracle_of(m)} for m in methods if m.name in best},
        "criteria": criteria,
        "best": best,
        "choices": choices,
        "judged": judged,
        "left_out": [asdict(entry) for entry in left_out],
    }


def _scores(
    swept: Sequence[Swept], methods: Sequence[Method], classes: Sequence[str], scoring: Scoring
) -> tuple[dict[str, dict[str, Resampled]], list[LeftOut]]:
    """Scores of every row at every encoder that has it, on the same resamples of the images."""
    samples: dict[str, Sample] = {}
    found: dict[str, dict[str, Resampled]] = {method.name: {} for method in methods}
    left_out = []
    for one in track(swept, "compare", "encoder"):
        for method in methods:
            path = one.rows[method.name]
            entry = left_out_at(path)
            if entry is not None:
                left_out.append(replace(entry, row=f"{one.name}: {entry.row}"))
                continue
            runs = {seed: path.with_suffix("") / f"seed{seed}" for seed in method.seeds}
            tables = {seed: folder / "clusters.npz" for seed, folder in runs.items()}
            compared = Compared(
                context_of(method, classes, scoring),
                {seed: folder / "counts.npz" for seed, folder in runs.items()},
                tables if method.traits.kind == "segments" else None,
            )
            found[method.name][one.name] = next(iter(resampled_scores(compared, samples, RESAMPLES).values()))
    return found, left_out


def _judged(
    values: Mapping[str, float | None], scored: Mapping[str, Resampled], best: str, choice: str
) -> dict[str, Any]:
    """One criterion against one row, over the encoders that have both; its choice may be one without the row."""
    known = {encoder: value for encoder, value in values.items() if value is not None}
    result: dict[str, Any] = {"spearman": None, "range": None, "behind": None}
    if choice in known:
        nothing = {"value": 0.0, "low": None, "high": None}
        result["behind"] = nothing if choice == best else _points(compare(scored[best], scored[choice]), scored)
    if len(known) >= RANKED:
        ranks = np.array(list(known.values()))
        result["spearman"] = rank_correlation(ranks, np.array([[_mean(scored[e].scores) for e in known]])).item()
        if _images(scored) >= FEWEST:
            resampled = np.stack([np.mean(list(scored[e].resamples.values()), axis=0) for e in known], axis=1)
            drawn = rank_correlation(ranks, resampled[np.isfinite(resampled).all(1)])
            drawn = drawn[np.isfinite(drawn)]
            if len(drawn):
                result["range"] = np.quantile(drawn, [0.025, 0.975]).tolist()
        if not np.isfinite(result["spearman"]):
            result["spearman"] = None
    return result


def rank_correlation(values: NDArray[np.float64], others: NDArray[np.float64]) -> Floats:
    """Spearman's rank correlation of values (e,) with each line of others (r, e), ties with their mean rank.

    Returns:
        (r,), NaN where all values of a side are equal.
    """
    left, right = _ranks(values[None]), _ranks(others)
    left, right = left - left.mean(1, keepdims=True), right - right.mean(1, keepdims=True)
    length = np.sqrt((left**2).sum(1) * (right**2).sum(1))
    return np.where(length > 0, (left * right).sum(1) / np.where(length > 0, length, 1.0), np.nan)


def _ranks(values: NDArray[np.float64]) -> Floats:
    """Ranks (r, e) in each line of values (r, e), 1/2 for the lowest."""
    below = (values[:, None, :] < values[:, :, None]).sum(2, dtype=np.float64)
    same = (values[:, None, :] == values[:, :, None]).sum(2, dtype=np.float64)
    ranks: Floats = below + same / 2
    return ranks


def _points(difference: Difference | None, scored: Mapping[str, Resampled]) -> dict[str, float | None] | None:
    """A difference or score in percent; without an interval where there are too few images."""
    if difference is None:
        return None
    if _images(scored) < FEWEST:
        return {"value": 100 * difference.difference, "low": None, "high": None}
    return {"value": 100 * difference.difference, "low": 100 * difference.low, "high": 100 * difference.high}


def _images(scored: Mapping[str, Resampled]) -> int:
    return int(next(iter(scored.values())).weights[0].sum())


def _mean(scores: Mapping[Any, float]) -> float:
    return float(np.mean(list(scores.values())))


def _highest(values: Mapping[str, float | None]) -> str:
    """The name of the highest value, the first of equal ones."""
    known = {name: value for name, value in values.items() if value is not None}
    return max(known, key=lambda name: known[name])
