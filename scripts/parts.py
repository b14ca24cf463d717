"""Rule `parts`: into how many jobs an extraction is cut."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    import math

    from patchbank.bank.format import shard_count
    from patchbank.files import read_json, write_json

    options = snakemake.params.extract
    images = read_json(snakemake.input.manifest)["splits"][snakemake.wildcards.split]
    shards = shard_count(len(images), options["images_per_shard"])
    write_json(snakemake.output[0], {"parts": math.ceil(shards / options["shards_per_job"])})
