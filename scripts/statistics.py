"""Rule `statistics`: moments of the training tokens."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.bank.statistics import compute_statistics

    compute_statistics(snakemake.input.bank, snakemake.output[0])
