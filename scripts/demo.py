"""Rule `demo`: generate the embedded demo set."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.datasets.demo import generate

    generate(snakemake.output[0], **snakemake.params.settings)
