"""Rules of rows: which rows of which sets have the same files, so that one job makes those of all seeds and splits.

Snakemake wants the files that a rule writes as a list, and rows have theirs by their seeds, the kind of their
predictions and the names of their set's splits. A stage of rows is therefore one rule for each such list, `count`,
`count_2` and so on, whose wildcards fit the rows that have it; most configurations need two or three.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from patchbank.config.plan.paths import predicted_splits
from patchbank.config.plan.rows import Rows
from patchbank.methods.contract import rows as offered


@dataclass(frozen=True)
class Shape:
    """Rows with the same seeds and splits.

    Attributes:
        rule: name of the stage's rule for them.
        seeds: trainings.
        splits: names of the splits that are predicted, those that are scored last; none where the stage predicts none.
        datasets: regular expression of the sets.
        methods: regular expression of the rows.
    """

    rule: str
    seeds: tuple[int, ...]
    splits: tuple[str, ...]
    datasets: str
    methods: str

    def predictions(self) -> list[str]:
        """Pattern of the predictions' paths, of every seed and split in this order."""
        return [path for seed in self.seeds for path in self.of_seed(seed, *(f"{split}.h5" for split in self.splits))]

    def files(self, name: str) -> list[str]:
        """Pattern of the paths of a file that every seed has."""
        return [path for seed in self.seeds for path in self.of_seed(seed, name)]

    def of_seed(self, seed: int, *names: str) -> list[str]:
        """Patterns of the paths of one seed's files."""
        return [f"results/{{dataset}}/{{method}}/seed{seed}/{name}" for name in names]


@dataclass(frozen=True)
class _Family:
    """Rows of one set that have a regular expression in common; `predicted` where predictions are their own."""

    pattern: str
    seeds: tuple[int, ...]
    kind: str
    predicted: bool


class Shapes:
    """The rules of the stages of rows.

    Args:
        rows: rows of every set.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.config = rows.config
        self._families = {dataset: list(self._of(dataset)) for dataset in self._datasets()}

    def predict(self) -> list[Shape]:
        """Predictions: segments of both splits, because clusters are fitted on the one, classes of the scored split."""
        shapes = {}
        for dataset, families in self._families.items():
            splits, predicted = self.config.splits(dataset), [family for family in families if family.predicted]
            shapes[dataset] = [(f.pattern, f.seeds, tuple(predicted_splits(splits, f.kind))) for f in predicted]
        return _shapes("predict", shapes)

    def segment_clusters(self) -> list[Shape]:
        """Clusters of the rows that have segments of their own."""
        return _shapes(
            "segment_clusters",
            {
                dataset: [(f.pattern, f.seeds, ()) for f in families if f.predicted and f.kind == "segments"]
                for dataset, families in self._families.items()
            },
        )

    def count(self) -> list[Shape]:
        """Counts of all rows."""
        return _shapes(
            "count",
            {dataset: [(f.pattern, f.seeds, ()) for f in families] for dataset, families in self._families.items()},
        )

    def _datasets(self) -> list[str]:
        """All sets, those that `all` runs first, so that their rules have the plain names."""
        return list(dict.fromkeys([*self.config.enabled, *self.config.datasets]))

    def _of(self, dataset: str) -> Iterator[_Family]:
        methods, seeds = self.rows.methods(dataset), self.config.of(dataset)["seeds"]
        for row in (*methods, *self.rows.postprocessed(dataset)):
            yield _Family(re.escape(row.name), row.seeds, row.traits.kind, not row.source)
        for name, floor in offered().items():
            if name not in {method.name for method in methods}:
                traits = floor.traits
                pattern = f"{re.escape(name)}-[1-9][0-9]*" if traits.at_counts else re.escape(name)
                trainings = tuple(seeds[:1] if traits.one_seed else seeds)
                yield _Family(pattern, trainings, traits.kind, True)


def _shapes(stage: str, rows: dict[str, list[tuple[str, tuple[int, ...], tuple[str, ...]]]]) -> list[Shape]:
    """One shape for each list of files, of the sets in which the same rows have it."""
    sets: dict[tuple[tuple[int, ...], tuple[str, ...], str], list[str]] = {}
    for dataset, families in rows.items():
        patterns: dict[tuple[tuple[int, ...], tuple[str, ...]], list[str]] = {}
        for pattern, seeds, splits in families:
            patterns.setdefault((seeds, splits), []).append(pattern)
        for (seeds, splits), same in patterns.items():
            sets.setdefault((seeds, splits, "|".join(sorted(same))), []).append(dataset)
    return [
        Shape(stage if not number else f"{stage}_{number + 1}", seeds, splits, "|".join(datasets), methods)
        for number, ((seeds, splits, methods), datasets) in enumerate(sets.items())
    ]
