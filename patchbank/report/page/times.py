"""How long the stages of a set took, from the benchmark files that Snakemake writes for every job.

Input: the folder `results/benchmarks/<dataset>` with one `.tsv` for each job, named `<rule>-<what>.tsv`. Files that
are missing (an older run, a deleted folder) leave their stage out.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

LATER = ("page", "summary")
"""Rules that run together with or after the page."""


@dataclass(frozen=True)
class StageTime:
    """One rule's jobs.

    Attributes:
        rule: its name.
        jobs: jobs whose benchmark is there.
        seconds: wall-clock seconds, added up over the jobs.
        megabytes: the largest peak of resident memory; None where jobs were too short to be measured.
    """

    rule: str
    jobs: int
    seconds: float
    megabytes: float | None


def stage_times(folder: Path) -> list[StageTime]:
    """Times of all rules, the longest first (ties by name)."""
    by_rule: dict[str, list[tuple[float, float | None]]] = {}
    for path in sorted(folder.glob("*.tsv")):
        rule = path.stem.split("-")[0]
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        if rule not in LATER:
            # a benchmark may be repeated; the last line is the job whose output stands
            by_rule.setdefault(rule, []).extend((float(row["s"]), _number(row["max_rss"])) for row in rows[-1:])
    times = [
        StageTime(
            rule=rule,
            jobs=len(jobs),
            seconds=sum(seconds for seconds, _ in jobs),
            megabytes=max((peak for _, peak in jobs if peak is not None), default=None),
        )
        for rule, jobs in by_rule.items()
    ]
    return sorted(times, key=lambda time: (-time.seconds, time.rule))


def _number(text: str) -> float | None:
    """A number, None for the dash that Snakemake writes where it measured nothing."""
    try:
        return float(text)
    except ValueError:
        return None
