"""Rule `k_page`: the chart over numbers of clusters, for a browser."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.report.page.clusters import write_k_page

    write_k_page(snakemake.wildcards.dataset, Path(snakemake.input[0]), Path(snakemake.output[0]))
