"""Rule `extract`: run the frozen encoder over the views of a split, or over one part of its shards."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from patchbank.bank.extract import ExtractSettings, extract
    from patchbank.weights.spec import BackboneSpec

    options = snakemake.params.extract
    extract(
        manifest=snakemake.input.manifest,
        split=snakemake.wildcards.split,
        spec=BackboneSpec(**snakemake.params.backbone),
        weights=snakemake.input.weights,
        provenance=snakemake.input.provenance,
        settings=ExtractSettings(
            recipe=snakemake.wildcards.recipe,
            recipe_settings=snakemake.params.recipe,
            precision=options["precision"],
            dtype=options["dtype"],
            images_per_shard=options["images_per_shard"],
            batch_tokens=options["batch_tokens"],
        ),
        bank_root=snakemake.params.bank_root,
        out=snakemake.output[0],
        part=(int(snakemake.wildcards.part), int(snakemake.wildcards.parts)),
        threads=snakemake.threads,
    )
