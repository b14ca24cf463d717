"""Rule `predict`: predictions of a method or floor on one split."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    import importlib
    from pathlib import Path

    method = importlib.import_module(f"patchbank.methods.{snakemake.params.folder}.predict")
    checkpoint = snakemake.input.get("checkpoint")
    method.predict(
        banks={recipe: Path(snakemake.input[recipe]) for recipe in snakemake.params.recipes},
        statistics=Path(snakemake.input.statistics),
        checkpoint=Path(checkpoint) if checkpoint else None,
        settings=snakemake.params.settings,
        seed=int(snakemake.wildcards.seed),
        dataset=snakemake.wildcards.dataset,
        split=snakemake.wildcards.split,
        method=snakemake.wildcards.method,
        out=Path(snakemake.output[0]),
        threads=snakemake.threads,
        **({"manifest": Path(snakemake.input.labels)} if snakemake.input.get("labels") else {}),
    )
