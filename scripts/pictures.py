"""Rule `pictures`: what a method makes on its way to a prediction, on some training images."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.methods.contract import run_pictures
    from patchbank.methods.jobs import PictureJob

    run_pictures(
        PictureJob(
            folder=snakemake.params.folder,
            manifest=Path(snakemake.input.manifest),
            banks={recipe: Path(snakemake.input[recipe]) for recipe in snakemake.params.recipes},
            checkpoint=Path(snakemake.input.checkpoint),
            settings=snakemake.params.settings,
            out=Path(snakemake.output[0]),
        )
    )
