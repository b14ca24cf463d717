"""Rule `predict`: predictions of a method or floor on one split."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.methods.contract import run_predict
    from patchbank.methods.jobs import PredictJob

    checkpoint, labels = snakemake.input.get("checkpoint"), snakemake.input.get("labels")
    run_predict(
        PredictJob(
            folder=snakemake.params.folder,
            row=snakemake.wildcards.method,
            banks={recipe: Path(snakemake.input[recipe]) for recipe in snakemake.params.recipes},
            statistics=Path(snakemake.input.statistics),
            settings=snakemake.params.settings,
            seed=int(snakemake.wildcards.seed),
            dataset=snakemake.wildcards.dataset,
            split=snakemake.wildcards.split,
            out=Path(snakemake.output[0]),
            checkpoint=Path(checkpoint) if checkpoint else None,
            manifest=Path(labels) if labels else None,
            threads=snakemake.threads,
        )
    )
