"""Rule `train`: train a method on the bank."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    import importlib
    from pathlib import Path

    method = importlib.import_module(f"patchbank.methods.{snakemake.params.folder}.train")
    method.train(
        banks={recipe: Path(snakemake.input[recipe]) for recipe in snakemake.params.recipes},
        statistics=Path(snakemake.input.statistics),
        settings=snakemake.params.settings,
        seed=int(snakemake.wildcards.seed),
        checkpoint=Path(snakemake.output.checkpoint),
        steps_csv=Path(snakemake.output.steps),
        epochs_csv=Path(snakemake.output.epochs),
        state_root=Path(snakemake.params.state_root),
        threads=snakemake.threads,
        **({"manifest": Path(snakemake.input.labels)} if snakemake.input.get("labels") else {}),
    )
