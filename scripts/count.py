"""Rule `count`: count pixels by image, predicted segment and true class."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.count import count_predictions

    count_predictions(
        Path(snakemake.input.prediction),
        Manifest.load(snakemake.input.manifest),
        Path(snakemake.output[0]),
        snakemake.params.preprocessing,
        workers=snakemake.threads,
    )
