"""Rule `panel`: image, truth and predictions in matched colours."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.report.named import name_columns
    from patchbank.report.panel import draw_panel, panel_columns

    columns = panel_columns(
        snakemake.params.columns,
        [Path(path) for path in snakemake.input.predictions],
        [Path(path) for path in snakemake.input.scores],
        [Path(path) for path in snakemake.input.tables],
    )
    names = next(map(Path, snakemake.input.cluster_names), None)
    draw_panel(*name_columns(Manifest.load(snakemake.input.manifest), columns, names), Path(snakemake.output[0]))
