"""Rule `extract`: run the frozen encoder over the views of a split, or over one part of its shards."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from dataclasses import replace
    from pathlib import Path

    from patchbank.bank.extract import ExtractJob, ExtractSettings
    from patchbank.bank.spread import extract_on
    from patchbank.memory import keep
    from patchbank.plain import from_plain
    from patchbank.weights.spec import BackboneSpec

    keep()
    settings = from_plain(ExtractSettings, snakemake.params.settings)
    job = ExtractJob(
        manifest=Path(snakemake.input.manifest),
        split=snakemake.wildcards.split,
        spec=from_plain(BackboneSpec, snakemake.params.backbone),
        weights=Path(snakemake.input.weights),
        provenance=Path(snakemake.input.provenance),
        settings=replace(settings, batch_tokens=snakemake.resources.batch_tokens),
        bank_root=Path(snakemake.params.bank_root),
        out=Path(snakemake.output[0]),
        part=(int(snakemake.wildcards.part), int(snakemake.wildcards.parts)),
        threads=snakemake.threads,
    )
    extract_on(job, snakemake.resources.get("gpu", 0))
