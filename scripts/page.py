"""Rule `page`: one set's page for a browser, with its pictures."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.report.page.build import PageSource, write_page
    from patchbank.report.panel import panel_columns

    given = snakemake.input
    columns = panel_columns(
        snakemake.params.columns,
        [Path(path) for path in given.predictions],
        [Path(path) for path in given.scores],
        [Path(path) for path in given.tables],
    )
    shown = {column.title for column in columns}
    rows = zip(snakemake.params.columns, given.counts, strict=True)
    counts = [Path(path) for (name, *_), path in rows if name in shown]
    source = PageSource(
        report=Path(given.report),
        manifest=Path(given.manifest),
        columns=columns,
        counts=counts,
        bank=Path(given.bank),
        statistics=Path(given.statistics),
        curves=[Path(path) for path in given.curves],
        ways=[Path(path) for path in given.pictures],
        benchmarks=Path(snakemake.params.benchmarks),
        pictures=snakemake.params.gallery,
        clusters=next(map(Path, given.clusters), None),
        names=next(map(Path, given.cluster_names), None),
    )
    write_page(source, Path(snakemake.output.page).parent)
