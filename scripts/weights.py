"""Rule `weights`: fetch, verify and convert the weights of one backbone."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.plain import from_plain
    from patchbank.weights.fetch import fetch_weights
    from patchbank.weights.spec import BackboneSpec

    fetch_weights(
        from_plain(BackboneSpec, snakemake.params.spec), snakemake.output.weights, snakemake.output.provenance
    )
