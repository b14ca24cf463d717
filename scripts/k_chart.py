"""Rule `k_chart`: criteria without labels at several numbers of clusters, and a suggestion."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.criteria.k import write_k
    from patchbank.criteria.settings import CriteriaSettings
    from patchbank.plain import from_plain

    write_k(
        Path(snakemake.input.bank),
        Path(snakemake.input.statistics),
        from_plain(CriteriaSettings, snakemake.params.settings),
        snakemake.params.candidates,
        Path(snakemake.output[0]),
        threads=snakemake.threads,
    )
