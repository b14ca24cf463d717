"""Rule `count`: count pixels by image, predicted segment and true class or instance."""

from typing import TYPE_CHECKING

from patchbank.scripting import stage

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

with stage(snakemake):
    from pathlib import Path

    from patchbank.datasets.manifest import Manifest
    from patchbank.evaluation.count import count_predictions, summarise
    from patchbank.files import write_json

    count_predictions(
        Path(snakemake.input.prediction),
        Manifest.load(snakemake.input.manifest),
        Path(snakemake.output.counts),
        snakemake.params.preprocessing,
        workers=snakemake.threads,
        label_kind=snakemake.params.label_kind,
        postprocess=snakemake.params.postprocess,
        origin=snakemake.params.origin,
    )
    write_json(snakemake.output.summary, summarise(Path(snakemake.output.counts)))
