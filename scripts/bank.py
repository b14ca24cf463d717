"""Rule `bank`: check that all shards are there, describe the bank, point to it."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.bank.finish import finish

    finish(snakemake.input.parts, snakemake.input.manifest, snakemake.output[0])
