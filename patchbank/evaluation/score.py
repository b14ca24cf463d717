"""Stage `score`: protocols applied to the counts of one method, aggregated over trainings and k-means seeds.

Inputs: a counts file for each training seed, and one of instances where a protocol needs it; for methods that predict
segments also the table of segment clusters of each training seed (`.npz`: int32 (n, Q) arrays named
`k{asked K}-s{k-means seed}`, `tables` their names, `k_used` the K of each; optional `points`, the training segments
that k-means was fitted on).
Output: `{"rows": [...], "matching": {...} | null}`, and `missing` where instances were left out (`patchbank.left_out`);
the fields of a row as in "Names in report.json" of the protocols; all scores in percent, mean and standard deviation
(ddof 1, null for one run) over runs = trainings x k-means seeds.

Which counts a protocol gets: `image` protocols the segments themselves (or, for methods that predict classes, the
variant with K = number of classes), `classes` protocols K = number of classes, `more` protocols every other K.
`things` and `stuff` are the mean over a part of the classes, under the protocols whose mIoU is a mean over classes.
`per_class` lists what enters the mean: a class that a protocol counts as 0 is 0, one that it drops is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from patchbank.evaluation import protocols
from patchbank.evaluation.counts import Counts, CountsFile, Upsample, apply_table, mean_used_segments
from patchbank.evaluation.measures import Score, mean
from patchbank.files import read_npz
from patchbank.methods.contract import Method, oracle_of
from patchbank.methods.shape import Traits
from patchbank.oracle import splits
from patchbank.variants import k_and_seed


@dataclass(frozen=True)
class ScoreContext:
    """What the rows say about where they come from, and which protocols are asked for.

    `k` is the number of clusters of the protocols with as many clusters as classes; 0 is the number of classes.
    `oracle` is the splits whose labels the row used (`patchbank.oracle`), as the configuration knows them; rows say
    besides what the counts do, which have it from the checkpoint.
    `fit` is the split that the row's clusters or learned classes were fitted on, None for a method without any.
    `things` says of each class whether it is a thing (else stuff); empty where the set makes no difference.
    """

    dataset: str
    method: str
    kind: Literal["segments", "classes"]
    classes: tuple[str, ...]
    preprocessing: str
    fit: str | None
    settings: Mapping[str, Any]
    floor: bool
    ceiling: bool
    oracle: str | None
    protocols: tuple[str, ...]
    k: int = 0
    things: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Scoring:
    """What all rows of a set are scored by.

    Attributes:
        dataset: name of the set.
        protocols: ids of the protocols.
        preprocessing: at which labels are compared.
        fit: split that clusters are fitted on.
        k: number of clusters of the protocols with as many clusters as classes; 0 is the number of classes.
    """

    dataset: str
    protocols: tuple[str, ...]
    preprocessing: str
    fit: str
    k: int = 0


def context_of(method: Method, classes: Sequence[str], scoring: Scoring, things: Sequence[bool] = ()) -> ScoreContext:
    """The context of a row from its method and the set's settings."""
    traits = method.traits
    return ScoreContext(
        dataset=scoring.dataset,
        method=method.name,
        kind=traits.kind,
        classes=tuple(classes),
        preprocessing=scoring.preprocessing,
        fit=_fit_of(traits, scoring),
        settings=method.settings,
        floor=traits.floor,
        ceiling=traits.ceiling,
        oracle=oracle_of(method),
        protocols=scoring.protocols,
        k=scoring.k,
        things=tuple(things),
    )


def _fit_of(traits: Traits, scoring: Scoring) -> str | None:
    """The split that a row's clusters come from: heads find their classes in training, whatever `fit` says."""
    if traits.kind == "segments" or traits.fitted:
        return scoring.fit
    return "train" if traits.trained and not traits.ceiling else None


@dataclass(frozen=True)
class _Run:
    """Facts of one training and, where clusters are scored, of one k-means seed."""

    training: int
    label_kind: str
    preprocessing: str
    upsample: Upsample
    counted: str  # note of the counts
    used: float
    oracle: str | None  # of the counts
    asked: int | None = None
    kmeans: int | None = None
    k_used: int | None = None
    points: int | None = None
    name: str = ""


@dataclass
class _Group:
    """All runs of one protocol and K; `scores` by variant of the protocol, aligned with `runs`."""

    runs: list[_Run] = field(default_factory=list)
    scores: dict[str, list[Score]] = field(default_factory=dict)


def score_method(
    counts: Mapping[int, Path],
    tables: Mapping[int, Path] | None,
    context: ScoreContext,
    instances: Mapping[int, Path] | None = None,
) -> dict[str, Any]:
    """Score one method on one set.

    Args:
        counts: training seed -> counts file.
        tables: training seed -> table of segment clusters; None for methods that predict classes, or where only the
            `image` protocols are wanted.
        context: what the rows say, and the protocols.
        instances: training seed -> counts file of instances, for the protocols that need it.

    Returns:
        JSON values `{"rows": [...], "matching": {...} | None}`; no rows and None where no pixel is labelled.

    Raises:
        ValueError: a counts file of another preprocessing or number of classes.
        UserError: a missing file, or an unknown protocol.
    """
    groups: dict[tuple[str, int | None], _Group] = {}
    matching: dict[str, Any] | None = None
    for run, counted, wanted in scored_runs(counts, tables, context, instances):
        for protocol in wanted:
            group = groups.setdefault((protocol.name, run.asked), _Group())
            group.runs.append(run)
            for variant, score in protocol.evaluate(counted).items():
                group.scores.setdefault(variant, []).append(score)
        if matching is None and run.label_kind == "class" and _takes("classes", run, context):
            matching = _matching(run, counted)
    order = {name: position for position, name in enumerate(context.protocols)}
    keys = sorted(groups, key=lambda key: (order[key[0]], key[1] or 0))
    rows = [_row(key[0], variant, groups[key], context) for key in keys for variant in groups[key].scores]
    return {"rows": rows, "matching": matching}


def scored_runs(
    counts: Mapping[int, Path],
    tables: Mapping[int, Path] | None,
    context: ScoreContext,
    instances: Mapping[int, Path] | None = None,
) -> Iterator[tuple[_Run, Counts, list[protocols.Protocol]]]:
    """Every run with labelled pixels, one in memory at a time, with its counts and the protocols that score it.

    Arguments and errors as in `score_method`.
    """
    wanted = [protocols.get(name) for name in context.protocols]
    for run, counted in chain(_runs(counts, tables, context), _runs(instances or {}, None, context)):
        if not len(counted.count):
            continue
        takers = [p for p in wanted if p.labels == run.label_kind and _takes(p.clusters, run, context)]
        for protocol in takers:
            expected = protocol.preprocessing or context.preprocessing
            if run.preprocessing != expected:
                raise ValueError(f"{protocol.name}: counts at {run.preprocessing}, expected {expected}.")
        yield run, counted, takers


def _runs(
    counts: Mapping[int, Path], tables: Mapping[int, Path] | None, context: ScoreContext
) -> Iterator[tuple[_Run, Counts]]:
    """Every run with its counts, one in memory at a time, ordered by training seed, K and k-means seed."""
    for training in sorted(counts):
        file = CountsFile(counts[training])
        if context.kind == "classes":
            for k, seed, name in _ordered(list(file)):
                counted = _checked(file[name], counts[training], context)
                facts = (
                    file.label_kind,
                    file.preprocessing,
                    counted.upsample,
                    counted.note,
                    mean_used_segments(counted),
                    file.oracle,
                )
                yield _Run(training, *facts, k, seed, counted.segments, name=name), counted
            continue
        segments = _checked(file["segments"], counts[training], context)
        used = mean_used_segments(segments)
        facts = (file.label_kind, file.preprocessing, segments.upsample, segments.note, used, file.oracle)
        yield _Run(training, *facts), segments
        if tables is not None and file.label_kind == "class" and len(segments.count):
            arrays = read_npz(tables[training])
            names = [str(name) for name in arrays["tables"]]
            for k, seed, name in _ordered(names):
                k_used = int(arrays["k_used"][names.index(name)])
                points = int(arrays["points"][names.index(name)]) if "points" in arrays else None
                yield _Run(training, *facts, k, seed, k_used, points, name), apply_table(segments, arrays[name], k_used)


def _ordered(names: list[str]) -> list[tuple[int, int, str]]:
    """(asked K, k-means seed, name) of each variant name, ascending."""
    return sorted((*k_and_seed(name), name) for name in names)


def _checked(counts: Counts, path: Path, context: ScoreContext) -> Counts:
    if counts.label_kind == "class" and counts.classes != len(context.classes):
        raise ValueError(f"{path}: {counts.classes} classes, expected {len(context.classes)}.")
    return counts


def _takes(clusters: str, run: _Run, context: ScoreContext) -> bool:
    """Whether a protocol of this kind scores this run."""
    few = context.k or len(context.classes)
    if clusters == "image":
        return run.asked is None or (context.kind == "classes" and run.asked == few)
    return run.asked is not None and (run.asked == few) == (clusters == "classes")


def _matching(run: _Run, counts: Counts) -> dict[str, Any]:
    """The assignment of protocol `hungarian` of this run, for pictures in matched colours."""
    assignment = protocols.get("hungarian").evaluate(counts)[""].assignment
    return {
        "training_seed": run.training,
        "kmeans_seed": run.kmeans,
        "variant": run.name,
        "assignment": None if assignment is None else assignment.tolist(),
    }


def _row(protocol: str, variant: str, group: _Group, context: ScoreContext) -> dict[str, Any]:
    runs, scores = group.runs, group.scores[variant]
    scored = protocols.get(protocol)
    per_image = scored.clusters == "image"
    return {
        "method": context.method,
        "protocol": protocol,
        "variant": variant,
        "k": None if per_image else runs[0].asked,
        "k_used": [] if per_image else sorted({run.k_used for run in runs if run.k_used is not None}),
        "preprocessing": runs[0].preprocessing,
        "fit": context.fit,
        "segments": float(np.mean([run.used for run in runs])),
        "settings": dict(context.settings),
        "floor": context.floor,
        "ceiling": context.ceiling,
        "oracle": splits(context.oracle, *(run.oracle for run in runs)),
        "seeds": {
            "training": sorted({run.training for run in runs}),
            "kmeans": sorted({run.kmeans for run in runs if run.kmeans is not None}),
        },
        "miou": _spread([score.value for score in scores]),
        "accuracy": _spread([score.accuracy for score in scores]),
        "class_accuracy": _spread([score.class_accuracy for score in scores]),
        "per_class": _per_class(scores, len(context.classes)),
        "things": _part(scores, context.things, True) if scored.class_mean else None,
        "stuff": _part(scores, context.things, False) if scored.class_mean else None,
        "upsample": runs[0].upsample,
        "note": _note(runs, context),
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean, standard deviation (ddof 1) and number of fractions, in percent; None where a run has none."""
    given = [100.0 * value for value in values if value is not None]
    if not given or len(given) < len(values):
        return None
    deviation = float(np.std(given, ddof=1)) if len(given) > 1 else None
    return {"mean": float(np.mean(given)), "std": deviation, "n": len(given)}


def _per_class(scores: list[Score], classes: int) -> list[float | None]:
    """Mean percent of each class over the runs in which it enters; None where it enters in none."""
    listed = [score.per_class for score in scores if score.per_class is not None]
    if not listed:
        return [None] * classes
    means = [mean(values) for values in 100.0 * np.stack(listed, axis=1)]
    return [None if np.isnan(value) else value for value in means]


def _part(scores: Sequence[Score], things: Sequence[bool], wanted: bool) -> dict[str, Any] | None:
    """Mean over the things, or the stuff, of what each class brings; None where the set has no such part."""
    chosen = np.array(things, bool) == wanted
    if not chosen.any():
        return None
    values = [None if score.per_class is None else mean(score.per_class[chosen]) for score in scores]
    return _spread([None if value is None or np.isnan(value) else value for value in values])


def _note(runs: list[_Run], context: ScoreContext) -> str:
    """What a reader must know to compare the row: a capped K, an upsampling rule that could not be followed."""
    unit = "segments" if context.kind == "segments" else "tokens"
    capped: dict[str, None] = {}
    for run in runs:
        if run.asked is not None and run.k_used is not None and run.k_used < run.asked:
            points = "" if run.points is None else f"{run.points} "
            capped[f"K capped from {run.asked} to {run.k_used}: a quarter of the {points}training {unit}"] = None
    rules = {f"upsampled by {run.counted}": None for run in runs if run.counted}
    return "; ".join([*capped, *rules])
