"""Build a report: everything that is known about one dataset's results.

Inputs: the `scores.json` files of all methods, floors and ceilings, and a `ReportContext` with what the earlier
stages know (dataset, classes, backbone, seeds). Output: `patchbank.report.content.Report`, the same for the same
inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchbank import __version__
from patchbank.bank.format import read_record
from patchbank.datasets.manifest import Manifest
from patchbank.errors import raise_problems
from patchbank.evaluation.compare import Comparison
from patchbank.files import read_json
from patchbank.left_out import LeftOut
from patchbank.plain import from_plain
from patchbank.report.content import BackboneContext, Report
from patchbank.report.notes import build_notes
from patchbank.report.provenance import git_state, machine
from patchbank.report.published import published
from patchbank.report.rows import Facts, Row, read_left_out, read_rows, with_facts


@dataclass(frozen=True)
class ReportContext:
    """What the report says beside the scores.

    Attributes:
        dataset: name of the set.
        classes: names of the classes, in the order of their ids; empty where the set has none.
        images: number of images, keys ``"train"`` and ``"eval"``.
        backbone: the backbone.
        fit: split that clusters were fitted on, ``"train"`` or ``"val"``.
        preprocessing: preprocessing variant of the protocols, e.g. ``"squash_448_100"``.
        config: digest of the configuration that the run was made with.
        seeds: seed lists by kind, e.g. ``{"training": [0, 1, 2], "kmeans": [0, 1, 2, 3, 4]}``.
        threads: CPU threads that the stages used.
        drawn: rows whose trainings read stored draws, the same for all seeds.
        facts: row's name -> what the configuration knows of it.
        labelled: whether the evaluation split has masks.
        remarks: sentences of trainings' records, each with its row's name in front.
        data: sentences on the set, the `notes` of its `check.json`.
    """

    dataset: str
    classes: Sequence[str]
    images: Mapping[str, int]
    backbone: BackboneContext
    fit: str
    preprocessing: str
    config: str
    seeds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    threads: int = 1
    drawn: Sequence[str] = ()
    facts: Mapping[str, Facts] = field(default_factory=dict)
    labelled: bool = True
    remarks: Sequence[str] = ()
    data: Sequence[str] = ()


def context_from(
    manifest: Path,
    bank: Path,
    note: str,
    config: Mapping[str, Any],
    digest: str,
    threads: int,
    records: Mapping[str, Mapping[str, Any]] | None = None,
    drawn: Sequence[str] = (),
) -> ReportContext:
    """The context of a run of the pipeline.

    Args:
        manifest: `manifest.json` of the set.
        bank: the evaluation split's `whole` bank (folder, or pointer file); its record says what was really used.
        note: the sentence that every report says of the backbone.
        config: the set's resolved configuration, keys `fit`, `preprocessing`, `seeds`, `kmeans_seeds`.
        digest: hash of the whole configuration.
        threads: CPU threads that the stages used.
        records: row -> record of its first training, whose `notes` the report repeats.
        drawn: rows whose trainings read stored draws, the same for all seeds.

    Raises:
        UserError: manifest or bank are missing.
    """
    known = Manifest.load(manifest)
    _, record = read_record(bank)
    height, width = record["recipe"]["size"]
    return ReportContext(
        dataset=known.dataset,
        classes=known.classes,
        images={"train": len(known.entries(known.train_split)), "eval": len(known.entries(known.eval_split))},
        backbone=BackboneContext(
            name=record["backbone"]["name"],
            model=record["backbone"]["model"],
            block=record["backbone"]["block"],
            norm=record["backbone"]["norm"],
            input_size=(height, width),
            precision=record["precision"],
            weights_sha256=record["backbone"]["sha256"],
            note=note,
        ),
        fit=config["fit"],
        preprocessing=config["preprocessing"],
        config=digest,
        seeds={"training": list(config["seeds"]), "kmeans": list(config["kmeans_seeds"])},
        threads=threads,
        drawn=tuple(drawn),
        labelled=known.labelled,
        remarks=[f"{row}: {note}" for row, record in (records or {}).items() for note in record.get("notes", ())],
    )


def build_report(
    scores: Sequence[Path], context: ReportContext, comparisons: Path | None = None, elsewhere: Sequence[Path] = ()
) -> Report:
    """Build the report of one dataset.

    Args:
        scores: `scores.json` files in any order; none, or files without rows, for an unlabelled set.
        context: what the report says beside the scores.
        comparisons: `comparisons.json` of the compare stage; without it no method is called better.
        elsewhere: `scores.json` files at further preprocessing variants.

    Returns:
        The report; equal inputs on one machine give equal reports.

    Raises:
        UserError: a scores file is missing or broken, or was made with another list of classes.
    """
    rows = with_facts(read_rows(scores), context.facts)
    _check_classes(rows, context)
    compared = read_json(comparisons) if comparisons else {"comparisons": [], "left_out": []}
    differences = tuple(from_plain(Comparison, entry) for entry in compared["comparisons"])
    # a row that is not there at all is not there at further preprocessing either
    made = {row.method for row in rows}
    further = [entry for entry in read_left_out(elsewhere) if entry.row in made]
    uncompared = [LeftOut(**entry) for entry in compared["left_out"]]
    notes = build_notes(rows, context.labelled, context.drawn, differences)
    return Report(
        dataset=context.dataset,
        classes=tuple(context.classes),
        images=dict(context.images),
        backbone=context.backbone,
        labelled=context.labelled,
        fit=context.fit,
        preprocessing=context.preprocessing,
        rows=tuple(rows),
        provenance={
            "package": __version__,
            "git": git_state(),
            "config": context.config,
            "seeds": {kind: list(values) for kind, values in context.seeds.items()},
            "machine": machine(context.threads),
        },
        elsewhere=tuple(with_facts(read_rows(elsewhere), context.facts)),
        left_out=(*read_left_out(scores), *further, *uncompared),
        comparisons=differences,
        published=tuple(published(context.dataset, rows)),
        data=tuple(context.data),
        notes=(*context.data, *notes, *context.remarks),
    )


def _check_classes(rows: Sequence[Row], context: ReportContext) -> None:
    wanted = len(context.classes)
    problems = [
        f"{row.method} under {row.protocol} has scores of {len(row.per_class)} classes"
        for row in rows
        if row.per_class and len(row.per_class) != wanted
    ]
    raise_problems(f"{context.dataset} has {wanted} classes", problems, "Score again with this list of classes.")
