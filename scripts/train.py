"""Rule `train`: train a method on the bank."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.memory import keep
    from patchbank.methods.contract import run_train
    from patchbank.methods.jobs import TrainingFiles, TrainJob

    keep()
    labels, after, out = snakemake.input.get("labels"), snakemake.input.get("after"), snakemake.output
    run_train(
        TrainJob(
            folder=snakemake.params.folder,
            banks={recipe: Path(snakemake.input[recipe]) for recipe in snakemake.params.recipes},
            statistics=Path(snakemake.input.statistics),
            settings=snakemake.params.settings,
            seed=int(snakemake.wildcards.seed),
            files=TrainingFiles(Path(out.checkpoint), Path(out.steps), Path(out.epochs)),
            state_root=Path(snakemake.params.state_root),
            manifest=Path(labels) if labels else None,
            after=Path(after) if after else None,
            threads=snakemake.threads,
        )
    )
