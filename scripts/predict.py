"""Rule `predict`: predictions of a method or floor, of all seeds and splits."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from itertools import product
    from pathlib import Path

    from patchbank.methods.contract import run_predict
    from patchbank.methods.jobs import PredictJob

    params, labels = snakemake.params, snakemake.input.get("labels")
    checkpoints = list(snakemake.input.get("checkpoints", [])) or [None] * len(params.seeds)
    # banks stand in the order of splits and recipes, predictions in that of seeds and splits
    stored = iter(snakemake.input.banks)
    banks = {split: {recipe: Path(next(stored)) for recipe in params.recipes} for split in params.splits}
    runs = product(zip(params.seeds, checkpoints, strict=True), params.splits)
    for ((seed, checkpoint), split), out in zip(runs, snakemake.output, strict=True):
        run_predict(
            PredictJob(
                folder=params.folder,
                row=snakemake.wildcards.method,
                banks=banks[split],
                statistics=Path(snakemake.input.statistics),
                settings=params.settings,
                seed=seed,
                dataset=snakemake.wildcards.dataset,
                split=split,
                out=Path(out),
                checkpoint=Path(checkpoint) if checkpoint else None,
                manifest=Path(labels) if labels else None,
                threads=snakemake.threads,
            )
        )
