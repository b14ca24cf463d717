"""Stage `compare`: differences between the methods of a set, with intervals.

Inputs: counts and tables of segment clusters of every row of the table, as the score stage reads them.
Output: `{"comparisons": [...], "left_out": [...], "resamples": 10000}`. Every method that is neither
floor nor ceiling is compared with every floor and every other method, under each protocol, variant and K that both
have:

| key | meaning |
|---|---|
| `a`, `b` | names of the rows |
| `protocol`, `variant`, `k` | as in the rows; `k` is the K asked for, null inside the image |
| `difference`, `low`, `high` | a - b in points of percent, and the bounds of its 95 % interval |
| `n_images` | labelled images that are resampled |
| `runs` | number of runs of a and of b |

Below `FEWEST` labelled images there are none, and `left_out` says so (`patchbank.left_out.LeftOut`). What is
resampled, and what an interval leaves out, stands in `patchbank.evaluation.paired`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import UserError
from patchbank.evaluation.paired import RESAMPLES, Resampled, compare, draw_images, image_terms
from patchbank.evaluation.score import ScoreContext, scored_runs
from patchbank.evaluation.terms import Weights
from patchbank.left_out import LeftOut
from patchbank.progress import track

FEWEST = 5
"""Labelled images below which no interval is given: a resample of one image is that image."""


Key = tuple[str, str, int | None]
"""Protocol, variant, K asked for (None inside the image)."""


@dataclass(frozen=True)
class Comparison:
    """A difference with its interval; the fields are those of the table above."""

    a: str
    b: str
    protocol: str
    variant: str
    k: int | None
    difference: float
    low: float
    high: float
    n_images: int
    runs: tuple[int, int]

    @property
    def key(self) -> Key:
        """Protocol, variant and K, as of the rows."""
        return self.protocol, self.variant, self.k


@dataclass(frozen=True)
class Compared:
    """One row of the table: its context and its files, as `score_method` takes them."""

    context: ScoreContext
    counts: Mapping[int, Path]
    tables: Mapping[int, Path] | None = None
    instances: Mapping[int, Path] | None = None


def compare_methods(methods: Sequence[Compared], resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Compare the methods of one set.

    Args:
        methods: rows of one set and preprocessing, in the order in which pairs are named.
        resamples: of each interval.
        seed: of the resamples.

    Raises:
        UserError: two methods were counted on different images or labels; a missing file; an unknown protocol.
    """
    samples: dict[str, Sample] = {}
    drawn = [resampled_scores(method, samples, resamples, seed) for method in track(methods, "compare", "method")]
    comparisons = []
    for first, second in _pairs(methods):
        for key, a in drawn[first].items():
            images = int(a.weights[0].sum())
            if key in drawn[second] and images >= FEWEST:
                b = drawn[second][key]
                difference = compare(a, b)
                comparisons.append(
                    Comparison(
                        a=methods[first].context.method,
                        b=methods[second].context.method,
                        protocol=key[0],
                        variant=key[1],
                        k=key[2],
                        difference=100 * difference.difference,
                        low=100 * difference.low,
                        high=100 * difference.high,
                        n_images=images,
                        runs=(len(a.scores), len(b.scores)),
                    )
                )
    few = min((len(sample.labelled) for sample in samples.values()), default=FEWEST)
    left_out = [asdict(LeftOut("paired differences", "", _too_few(few)))] if few < FEWEST else []
    return {"comparisons": [asdict(one) for one in comparisons], "left_out": left_out, "resamples": resamples}


def _too_few(images: int) -> str:
    return f"an interval needs at least {FEWEST} labelled images, and there {'is' if images == 1 else 'are'} {images}."


@dataclass(frozen=True, eq=False)
class Sample:
    """The images that the first method was counted on, and how often each resample takes them."""

    method: str
    images: tuple[str, ...]
    labelled: NDArray[np.int32]
    weights: Weights


def resampled_scores(
    method: Compared, samples: dict[str, Sample], resamples: int = RESAMPLES, seed: int = 0
) -> dict[Key, Resampled]:
    """Every score of one method on every resample.

    Args:
        method: the row.
        samples: by label kind, drawn once for all methods: empty for the first, and filled here.
        resamples, seed: of the draws.

    Raises:
        UserError: the method was counted on other images or labels than the first.
    """
    resampled: dict[Key, Resampled] = {}
    files = (method.counts, method.tables, method.context, method.instances)
    for run, counts, wanted in scored_runs(*files):
        labelled = np.unique(counts.image)
        if counts.label_kind not in samples:
            weights = draw_images(labelled, len(counts.images), seed, resamples)
            samples[counts.label_kind] = Sample(method.context.method, counts.images, labelled, weights)
        sample = samples[counts.label_kind]
        if sample.images != counts.images or not np.array_equal(sample.labelled, labelled):
            names = f"{method.context.method} and {sample.method}"
            raise UserError(f"{names} were counted on different images or labels; run the count stage again.")
        for protocol in wanted:
            for variant, terms in image_terms(protocol.name, counts).items() if protocol.terms else ():
                key = (protocol.name, variant, None if protocol.clusters == "image" else run.asked)
                resampled.setdefault(key, Resampled(sample.weights)).add((run.training, run.kmeans), terms)
    return resampled


def _pairs(methods: Sequence[Compared]) -> Iterator[tuple[int, int]]:
    """Each trained method with each later trained one and with each floor."""
    for first, a in enumerate(methods):
        if a.context.floor or a.context.ceiling:
            continue
        for second, b in enumerate(methods):
            if not b.context.ceiling and (b.context.floor or second > first):
                yield first, second
