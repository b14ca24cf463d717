"""Rule `report`: the tables of one set, as json and as a page."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from dataclasses import replace
    from pathlib import Path

    from patchbank.files import read_json
    from patchbank.plain import from_plain
    from patchbank.report.build import build_report, context_from
    from patchbank.report.rows import Facts
    from patchbank.report.write import write_report
    from patchbank.threads import available

    records = {
        row: read_json(path) for row, path in zip(snakemake.params.trained, snakemake.input.records, strict=True)
    }
    context = context_from(
        manifest=Path(snakemake.input.manifest),
        bank=Path(snakemake.input.bank),
        note=snakemake.params.note,
        config=snakemake.params.config,
        digest=snakemake.params.digest,
        threads=max([record["threads"] for record in records.values()], default=available()),
        records=records,
        drawn=snakemake.params.drawn,
    )
    facts = {row: from_plain(Facts, values) for row, values in snakemake.params.facts.items()}
    given = snakemake.input
    context = replace(context, facts=facts, data=read_json(given.check)["notes"])
    scores = [Path(path) for path in (*given.scores, *given.get("floor_scores", []))]
    elsewhere = [Path(path) for path in (*given.get("elsewhere", []), *given.get("floors_elsewhere", []))]
    report = build_report(scores, context, Path(given.comparisons), elsewhere)
    figures = [Path(path) for path in (given.panel, *given.pictures, *given.curves)]
    write_report(report, figures, Path(snakemake.output.json), Path(snakemake.output.markdown))
